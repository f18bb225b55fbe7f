"""Write a tiny, randomly initialised Llama and a byte-level tokenizer to a directory.

Owns: the model that `verify_real.py` puts behind a real inference server. Nothing is downloaded
and nothing is trained: the answers are noise, but the server, its tokens and its `usage` are real.
Runs in the second virtual environment, the one with torch; imports nothing of `goodput_proxy`.

Rules it keeps: the same seed gives the same weights; the tokenizer has one token per byte and no
merges, so a UTF-8 character of several bytes is several tokens and *one* piece of streamed text
(tokens are not records, which a meter must survive); an answer never ends by itself before
`MIN_NEW_TOKENS`, so that every stream is long enough to have gaps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

BOS, EOS = "<s>", "</s>"
MIN_NEW_TOKENS = 64
# Long enough that no test reaches it: a stream that is to be abandoned must not end by itself.
MAX_POSITIONS = 65536
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '[' + message['role'] + '] ' + message['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Build the byte-level tokenizer: 256 bytes, a beginning and an end."""
    # alphabet() has no order of its own, and a token's id must be the same every time.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([BOS, EOS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Build the model: a few hundred kB of random weights with a sampling configuration."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        min_new_tokens=MIN_NEW_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def main() -> None:
    """Write model and tokenizer to the directory named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tokenizer = make_tokenizer()
    make_model(tokenizer, args.seed).save_pretrained(args.directory)
    tokenizer.save_pretrained(args.directory)


if __name__ == "__main__":
    main()
