from nextvec.v1 import decoder_pb2 as _decoder_pb2
from nextvec.v1 import lvm_pb2 as _lvm_pb2
from nextvec.v1 import snap_pb2 as _snap_pb2
from nextvec.v1 import vectors_pb2 as _vectors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContextSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTEXT_SOURCE_UNSPECIFIED: _ClassVar[ContextSource]
    CONTEXT_SOURCE_SEQ: _ClassVar[ContextSource]
    CONTEXT_SOURCE_MIXED: _ClassVar[ContextSource]
    CONTEXT_SOURCE_ANN: _ClassVar[ContextSource]
    CONTEXT_SOURCE_REPEAT_PAD: _ClassVar[ContextSource]
CONTEXT_SOURCE_UNSPECIFIED: ContextSource
CONTEXT_SOURCE_SEQ: ContextSource
CONTEXT_SOURCE_MIXED: ContextSource
CONTEXT_SOURCE_ANN: ContextSource
CONTEXT_SOURCE_REPEAT_PAD: ContextSource

class CompleteRequest(_message.Message):
    __slots__ = ("request_id", "messages", "paragraph", "route", "max_chunks", "snap_policy", "rungs", "bypass_cache")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    PARAGRAPH_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    SNAP_POLICY_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    BYPASS_CACHE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    messages: _containers.RepeatedScalarFieldContainer[str]
    paragraph: str
    route: str
    max_chunks: int
    snap_policy: str
    rungs: _containers.RepeatedScalarFieldContainer[int]
    bypass_cache: bool
    def __init__(self, request_id: _Optional[str] = ..., messages: _Optional[_Iterable[str]] = ..., paragraph: _Optional[str] = ..., route: _Optional[str] = ..., max_chunks: _Optional[int] = ..., snap_policy: _Optional[str] = ..., rungs: _Optional[_Iterable[int]] = ..., bypass_cache: _Optional[bool] = ...) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ("request_id", "route", "chunks", "context", "degraded", "timings", "total_ms", "model_ids", "space")
    class ModelIdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    route: str
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    context: ContextInfo
    degraded: _containers.RepeatedScalarFieldContainer[str]
    timings: _containers.RepeatedCompositeFieldContainer[StageTiming]
    total_ms: float
    model_ids: _containers.ScalarMap[str, str]
    space: str
    def __init__(self, request_id: _Optional[str] = ..., route: _Optional[str] = ..., chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., context: _Optional[_Union[ContextInfo, _Mapping]] = ..., degraded: _Optional[_Iterable[str]] = ..., timings: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., total_ms: _Optional[float] = ..., model_ids: _Optional[_Mapping[str, str]] = ..., space: _Optional[str] = ...) -> None: ...

class ContextInfo(_message.Message):
    __slots__ = ("source", "texts", "own")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    source: ContextSource
    texts: _containers.RepeatedScalarFieldContainer[str]
    own: int
    def __init__(self, source: _Optional[_Union[ContextSource, str]] = ..., texts: _Optional[_Iterable[str]] = ..., own: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("index", "text", "steps", "cache_hit", "extractive", "cosine", "rung", "timings", "snap", "rungs", "fixed_point")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    EXTRACTIVE_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    SNAP_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    FIXED_POINT_FIELD_NUMBER: _ClassVar[int]
    index: int
    text: str
    steps: int
    cache_hit: bool
    extractive: bool
    cosine: float
    rung: int
    timings: _containers.RepeatedCompositeFieldContainer[StageTiming]
    snap: SnapInfo
    rungs: _containers.RepeatedCompositeFieldContainer[_decoder_pb2.RungReport]
    fixed_point: bool
    def __init__(self, index: _Optional[int] = ..., text: _Optional[str] = ..., steps: _Optional[int] = ..., cache_hit: _Optional[bool] = ..., extractive: _Optional[bool] = ..., cosine: _Optional[float] = ..., rung: _Optional[int] = ..., timings: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., snap: _Optional[_Union[SnapInfo, _Mapping]] = ..., rungs: _Optional[_Iterable[_Union[_decoder_pb2.RungReport, _Mapping]]] = ..., fixed_point: _Optional[bool] = ...) -> None: ...

class SnapInfo(_message.Message):
    __slots__ = ("policy", "weights", "clamp_fired", "cos_query", "cos_context", "neighbours", "cos_vector")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    CLAMP_FIRED_FIELD_NUMBER: _ClassVar[int]
    COS_QUERY_FIELD_NUMBER: _ClassVar[int]
    COS_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    COS_VECTOR_FIELD_NUMBER: _ClassVar[int]
    policy: str
    weights: _snap_pb2.BlendWeights
    clamp_fired: bool
    cos_query: float
    cos_context: float
    neighbours: _containers.RepeatedCompositeFieldContainer[_snap_pb2.Neighbour]
    cos_vector: float
    def __init__(self, policy: _Optional[str] = ..., weights: _Optional[_Union[_snap_pb2.BlendWeights, _Mapping]] = ..., clamp_fired: _Optional[bool] = ..., cos_query: _Optional[float] = ..., cos_context: _Optional[float] = ..., neighbours: _Optional[_Iterable[_Union[_snap_pb2.Neighbour, _Mapping]]] = ..., cos_vector: _Optional[float] = ...) -> None: ...

class StageTiming(_message.Message):
    __slots__ = ("stage", "total_ms", "queue_ms", "compute_ms")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    total_ms: float
    queue_ms: float
    compute_ms: float
    def __init__(self, stage: _Optional[str] = ..., total_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., compute_ms: _Optional[float] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("request_id", "request", "stream_hypotheses")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    STREAM_HYPOTHESES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    request: CompleteRequest
    stream_hypotheses: bool
    def __init__(self, request_id: _Optional[str] = ..., request: _Optional[_Union[CompleteRequest, _Mapping]] = ..., stream_hypotheses: _Optional[bool] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("request_id", "stage_finished", "hypothesis", "chunk", "complete", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FINISHED_FIELD_NUMBER: _ClassVar[int]
    HYPOTHESIS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    stage_finished: StageFinished
    hypothesis: HypothesisFormed
    chunk: Chunk
    complete: CompleteResponse
    error: _vectors_pb2.ItemError
    def __init__(self, request_id: _Optional[str] = ..., stage_finished: _Optional[_Union[StageFinished, _Mapping]] = ..., hypothesis: _Optional[_Union[HypothesisFormed, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., complete: _Optional[_Union[CompleteResponse, _Mapping]] = ..., error: _Optional[_Union[_vectors_pb2.ItemError, _Mapping]] = ...) -> None: ...

class StageFinished(_message.Message):
    __slots__ = ("chunk", "timing")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    chunk: int
    timing: StageTiming
    def __init__(self, chunk: _Optional[int] = ..., timing: _Optional[_Union[StageTiming, _Mapping]] = ...) -> None: ...

class HypothesisFormed(_message.Message):
    __slots__ = ("chunk", "hypothesis")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    HYPOTHESIS_FIELD_NUMBER: _ClassVar[int]
    chunk: int
    hypothesis: _decoder_pb2.Hypothesis
    def __init__(self, chunk: _Optional[int] = ..., hypothesis: _Optional[_Union[_decoder_pb2.Hypothesis, _Mapping]] = ...) -> None: ...

class ListRoutesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRoutesResponse(_message.Message):
    __slots__ = ("routes",)
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[RouteInfo]
    def __init__(self, routes: _Optional[_Iterable[_Union[RouteInfo, _Mapping]]] = ...) -> None: ...

class RouteInfo(_message.Message):
    __slots__ = ("port", "route", "model", "available", "healthy", "reason")
    PORT_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    port: int
    route: str
    model: _lvm_pb2.ModelInfo
    available: bool
    healthy: bool
    reason: str
    def __init__(self, port: _Optional[int] = ..., route: _Optional[str] = ..., model: _Optional[_Union[_lvm_pb2.ModelInfo, _Mapping]] = ..., available: _Optional[bool] = ..., healthy: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...
