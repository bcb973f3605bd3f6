"""What all stages share: the protocol, vectors, errors, batching, servers and channels. Never imports torch."""
