"""What can go wrong that is not a verdict; values are label values, so the sets are closed."""

from __future__ import annotations

from enum import StrEnum


class MeterFault(StrEnum):
    """Why the meter did not see something; the label `reason` of `goodput_tap_errors_total`."""

    BAD_JSON = "bad_json"
    UNEXPECTED_SHAPE = "unexpected_shape"  # JSON, but not of this API
    OVERSIZE_RECORD = "oversize_record"
    OVERSIZE_BODY = "oversize_body"
    CONTENT_ENCODING = "content_encoding"  # compressed: timed and not read
    FRAMING = "framing"  # not the framing that was agreed on
    CONTENT_TYPE = "content_type"  # neither a stream nor JSON: timed and not read
    OVERLOAD = "overload"  # it came faster than it could be looked at
    INTERNAL = "internal"  # a defect


class SloHeaderFault(StrEnum):
    """Why an `x-slo-...` header was ignored; a label `reason`, and never the header's value."""

    NOT_A_NUMBER = "not_a_number"  # of milliseconds
    OUT_OF_BOUNDS = "out_of_bounds"
    CONFLICTING = "conflicting"  # it came twice and said two things
    UNKNOWN_CLASS = "unknown_class"


class UpstreamFault(StrEnum):
    """How the upstream broke; the label `reason` of `goodput_upstream_errors_total`."""

    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TIMEOUT = "timeout"  # no byte for too long
    CLOSED = "closed"  # in the middle of an exchange
    RESET = "reset"
    PROTOCOL = "protocol"  # what it sent is not HTTP/1.1, or not what a proxy may pass on


class ClientFault(StrEnum):
    """Why a client's connection was closed on it; a label of `goodput_client_faults_total`."""

    SURPLUS = "surplus"  # one connection more than the limit
    HEAD_TIMEOUT = "head_timeout"  # its request's head did not come
    UPLOAD_TIMEOUT = "upload_timeout"  # its request's body did not come
    DOWNLOAD_TIMEOUT = "download_timeout"  # it did not read its answer
