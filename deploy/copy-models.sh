#!/bin/sh
# Copies what one stage reads of the models: copy-models.sh STAGE SOURCE TARGET
# FAMILY names the model family; mini without it.
set -eu
stage=$1
target=$3
family=families/${FAMILY:-mini}
cd "$2"

# Every stage reads which space the family's vectors live in. Where the record has no SHA-256 of the
# encoder's weights, that takes the weights.
if grep -q '"sha256"' "$family/family.json"; then
    common="$family/encoder/*.json $family/encoder/standardise.safetensors"
else
    common=$family/encoder
fi

case $stage in
encoder) own=$family/encoder ;;
lvm) own=lvm/models ;;
snap) own=$family/bank ;;
decoder) own="$family/encoder $family/inverter $family/corrector" ;;
gateway) own="$family/inverter/*.json" ;; # counts tokens as the encoder and the inverter do
*)
    echo "unknown stage '$stage'; have encoder, lvm, snap, decoder, gateway" >&2
    exit 2
    ;;
esac

# Unquoted: both are lists of patterns.
# shellcheck disable=SC2086
cp -rf --parents "$family/family.json" $common $own "$target"
