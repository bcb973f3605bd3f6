from nextvec.v1 import vectors_pb2 as _vectors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecodeRequest(_message.Message):
    __slots__ = ("request_id", "vector", "source", "candidates", "candidate_vectors", "rungs", "stream_hypotheses", "bypass_cache", "skip_checks")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_VECTORS_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    STREAM_HYPOTHESES_FIELD_NUMBER: _ClassVar[int]
    BYPASS_CACHE_FIELD_NUMBER: _ClassVar[int]
    SKIP_CHECKS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    vector: _vectors_pb2.VectorBlock
    source: str
    candidates: _containers.RepeatedScalarFieldContainer[str]
    candidate_vectors: _vectors_pb2.VectorBlock
    rungs: _containers.RepeatedScalarFieldContainer[int]
    stream_hypotheses: bool
    bypass_cache: bool
    skip_checks: bool
    def __init__(self, request_id: _Optional[str] = ..., vector: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., source: _Optional[str] = ..., candidates: _Optional[_Iterable[str]] = ..., candidate_vectors: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., rungs: _Optional[_Iterable[int]] = ..., stream_hypotheses: _Optional[bool] = ..., bypass_cache: _Optional[bool] = ..., skip_checks: _Optional[bool] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("request_id", "hypothesis", "result", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HYPOTHESIS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    hypothesis: Hypothesis
    result: DecodeResult
    error: _vectors_pb2.ItemError
    def __init__(self, request_id: _Optional[str] = ..., hypothesis: _Optional[_Union[Hypothesis, _Mapping]] = ..., result: _Optional[_Union[DecodeResult, _Mapping]] = ..., error: _Optional[_Union[_vectors_pb2.ItemError, _Mapping]] = ...) -> None: ...

class Hypothesis(_message.Message):
    __slots__ = ("step", "text", "cosine")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    step: int
    text: str
    cosine: float
    def __init__(self, step: _Optional[int] = ..., text: _Optional[str] = ..., cosine: _Optional[float] = ...) -> None: ...

class DecodeResult(_message.Message):
    __slots__ = ("text", "steps", "cosine", "rung", "cache_hit", "extractive", "rungs", "hypotheses", "fixed_point", "timing", "model_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    EXTRACTIVE_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    HYPOTHESES_FIELD_NUMBER: _ClassVar[int]
    FIXED_POINT_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    steps: int
    cosine: float
    rung: int
    cache_hit: bool
    extractive: bool
    rungs: _containers.RepeatedCompositeFieldContainer[RungReport]
    hypotheses: _containers.RepeatedCompositeFieldContainer[Hypothesis]
    fixed_point: bool
    timing: _vectors_pb2.Timing
    model_id: str
    def __init__(self, text: _Optional[str] = ..., steps: _Optional[int] = ..., cosine: _Optional[float] = ..., rung: _Optional[int] = ..., cache_hit: _Optional[bool] = ..., extractive: _Optional[bool] = ..., rungs: _Optional[_Iterable[_Union[RungReport, _Mapping]]] = ..., hypotheses: _Optional[_Iterable[_Union[Hypothesis, _Mapping]]] = ..., fixed_point: _Optional[bool] = ..., timing: _Optional[_Union[_vectors_pb2.Timing, _Mapping]] = ..., model_id: _Optional[str] = ...) -> None: ...

class RungReport(_message.Message):
    __slots__ = ("rung", "text", "cosine", "passed", "checks")
    RUNG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    rung: int
    text: str
    cosine: float
    passed: bool
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    def __init__(self, rung: _Optional[int] = ..., text: _Optional[str] = ..., cosine: _Optional[float] = ..., passed: _Optional[bool] = ..., checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("name", "value", "limit", "passed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    limit: float
    passed: bool
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., limit: _Optional[float] = ..., passed: _Optional[bool] = ...) -> None: ...
