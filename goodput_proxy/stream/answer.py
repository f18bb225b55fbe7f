"""An answer in one piece, of any API: has it output, how many tokens, how did it end.

The APIs differ in where they put these few facts and not in what they mean, so one reader
looks in all the places; what an API does not have is absent. No time is read off such an
answer but that of its last byte.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .decoding import UNREADABLE, as_count, failure, finish, repair, unreadable
from .events import CounterEvent, Event, TokenEvent, TokenSource, UsageEvent
from .output import has_text
from .usage import read_usage


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    message: Any = None
    text: Any = None
    token_ids: list[Any] | None = None
    finish_reason: Any = None


class _Candidate(msgspec.Struct, gc=False):
    content: Any = None
    index: int | None = None
    finishReason: Any = None  # noqa: N815 -- the wire's name


class _Answer(msgspec.Struct, gc=False):
    # Where the output is.
    choices: list[_Choice] | None = None  # OpenAI chat and completions
    content: Any = None  # Anthropic: blocks; llama.cpp: a string
    output: Any = None  # OpenAI Responses, LM Studio
    message: Any = None  # Ollama chat, Cohere
    response: Any = None  # Ollama generate
    thinking: Any = None  # Ollama generate
    text: Any = None  # SGLang, LMDeploy, transcriptions
    output_ids: list[Any] | None = None  # SGLang, LMDeploy
    generated_text: Any = None  # TGI
    text_output: Any = None  # Triton
    candidates: list[_Candidate] | None = None  # Gemini
    # What the server counted.
    usage: Any = None
    usageMetadata: Any = None  # noqa: N815
    meta_info: Any = None
    details: Any = None
    stats: Any = None
    timings: Any = None
    eval_count: Any = None
    prompt_eval_count: Any = None
    tokens_predicted: Any = None
    tokens_evaluated: Any = None
    # How it ended.
    stop_reason: Any = None
    stop_type: Any = None
    done_reason: Any = None
    finish_reason: Any = None
    status: Any = None
    error: Any = None
    error_type: Any = None


_decode = msgspec.json.Decoder(_Answer | list[_Answer]).decode


def read_answer(body: bytes, *, generates: bool = True) -> list[Event]:
    """Return what an answer in one piece says; never raises.

    Args:
        body: the whole JSON body; a list of answers is read as one answer of several choices.
        generates: False when the request asked for no output: text is then an echo.
    """
    try:
        answers = _decode(body)
        if not isinstance(answers, list):
            return _read(answers, 0, generates=generates)
        return [
            _count_apart(event, index)
            for index, answer in enumerate(answers)
            for event in _read(answer, index, generates=generates)
        ]
    except UNREADABLE as exc:
        repaired = repair(body)
        if repaired is not None:
            return read_answer(repaired, generates=generates)
        return [unreadable(body, b"", exc)]


def _count_apart(event: Event, index: int) -> Event:
    """Make the total of one answer out of several a count of its own."""
    if isinstance(event, UsageEvent) and event.output_tokens is not None:
        return CounterEvent(index, event.output_tokens, event.input_tokens, event.source)
    return event


def _read(answer: _Answer, index: int, *, generates: bool) -> list[Event]:
    if answer.error:
        return [failure(answer.error, answer.error_type)]
    events = _totals(answer)
    for choice in answer.choices or ():
        at = choice.index or 0
        if (generates and has_text([choice.message, choice.text])) or choice.token_ids:
            events.append(TokenEvent(at, len(choice.token_ids or ())))
        if isinstance(choice.finish_reason, str) and choice.finish_reason:
            events.append(finish(at, choice.finish_reason))
    for candidate in answer.candidates or ():
        at = candidate.index or 0
        if generates and has_text(candidate.content):
            events.append(TokenEvent(at))
        if isinstance(candidate.finishReason, str) and candidate.finishReason:
            events.append(finish(at, candidate.finishReason))
    output = (
        *(answer.content, answer.output, answer.message, answer.response, answer.thinking),
        *(answer.text, answer.generated_text, answer.text_output),
    )
    if generates and (answer.output_ids or any(map(has_text, filter(None, output)))):
        events.append(TokenEvent(index, len(answer.output_ids or ())))
    reason = _reason(answer)
    if reason:
        events.append(finish(index, reason))
    return events


def _totals(answer: _Answer) -> list[Event]:
    events: list[Event] = [*read_usage(answer.usage), *read_usage(answer.usageMetadata)]
    counted = (
        (answer.meta_info, "completion_tokens", "prompt_tokens", TokenSource.META_INFO),
        (answer.details, "generated_tokens", "input_length", TokenSource.DETAILS),
        (answer.stats, "total_output_tokens", "input_tokens", TokenSource.STATS),
        (answer.timings, "predicted_n", "prompt_n", TokenSource.TIMINGS),
    )
    for facts, output, inputs, source in counted:
        if isinstance(facts, dict):
            total = as_count(facts.get(output))
            events.append(UsageEvent(total, as_count(facts.get(inputs)), source))
    flat = (
        (answer.eval_count, answer.prompt_eval_count, TokenSource.EVAL_COUNT),
        (answer.tokens_predicted, answer.tokens_evaluated, TokenSource.TOKENS_PREDICTED),
    )
    for total, inputs, source in flat:
        if total is not None:
            events.append(UsageEvent(as_count(total), as_count(inputs), source))
    return events


def _reason(answer: _Answer) -> str:
    """Return why the answer ended, empty when it does not say."""
    inner = (
        facts.get("finish_reason")
        for facts in (answer.meta_info, answer.details)
        if isinstance(facts, dict)
    )
    for reason in (
        *(answer.stop_reason, answer.stop_type, answer.done_reason, answer.finish_reason),
        *(answer.status, *inner),
    ):
        name = reason.get("type") if isinstance(reason, dict) else reason  # an object: SGLang
        if isinstance(name, str) and name:
            return name
    return ""
