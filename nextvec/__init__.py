"""What all stages share: protocol, vectors, errors, batching, servers, channels. Never imports torch."""
