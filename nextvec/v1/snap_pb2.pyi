from nextvec.v1 import vectors_pb2 as _vectors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProjectRequest(_message.Message):
    __slots__ = ("request_id", "vector", "query", "context", "policy", "exclude_ids", "exclude_cosine", "k")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_COSINE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    vector: _vectors_pb2.VectorBlock
    query: _vectors_pb2.VectorBlock
    context: _vectors_pb2.VectorBlock
    policy: str
    exclude_ids: _containers.RepeatedScalarFieldContainer[int]
    exclude_cosine: float
    k: int
    def __init__(self, request_id: _Optional[str] = ..., vector: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., query: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., context: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., policy: _Optional[str] = ..., exclude_ids: _Optional[_Iterable[int]] = ..., exclude_cosine: _Optional[float] = ..., k: _Optional[int] = ...) -> None: ...

class ProjectResponse(_message.Message):
    __slots__ = ("request_id", "result", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    result: ProjectResult
    error: _vectors_pb2.ItemError
    def __init__(self, request_id: _Optional[str] = ..., result: _Optional[_Union[ProjectResult, _Mapping]] = ..., error: _Optional[_Union[_vectors_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ProjectResult(_message.Message):
    __slots__ = ("vector", "neighbours", "weights", "clamp_fired", "cos_query", "cos_context", "policy", "timing", "bank_id", "cos_vector", "neighbour_vectors")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    CLAMP_FIRED_FIELD_NUMBER: _ClassVar[int]
    COS_QUERY_FIELD_NUMBER: _ClassVar[int]
    COS_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    BANK_ID_FIELD_NUMBER: _ClassVar[int]
    COS_VECTOR_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOUR_VECTORS_FIELD_NUMBER: _ClassVar[int]
    vector: _vectors_pb2.VectorBlock
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    weights: BlendWeights
    clamp_fired: bool
    cos_query: float
    cos_context: float
    policy: str
    timing: _vectors_pb2.Timing
    bank_id: str
    cos_vector: float
    neighbour_vectors: _vectors_pb2.VectorBlock
    def __init__(self, vector: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., weights: _Optional[_Union[BlendWeights, _Mapping]] = ..., clamp_fired: _Optional[bool] = ..., cos_query: _Optional[float] = ..., cos_context: _Optional[float] = ..., policy: _Optional[str] = ..., timing: _Optional[_Union[_vectors_pb2.Timing, _Mapping]] = ..., bank_id: _Optional[str] = ..., cos_vector: _Optional[float] = ..., neighbour_vectors: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ...) -> None: ...

class BlendWeights(_message.Message):
    __slots__ = ("snap", "query", "context")
    SNAP_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    snap: float
    query: float
    context: float
    def __init__(self, snap: _Optional[float] = ..., query: _Optional[float] = ..., context: _Optional[float] = ...) -> None: ...

class Neighbour(_message.Message):
    __slots__ = ("id", "text", "document_id", "position", "cosine")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    document_id: str
    position: int
    cosine: float
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ..., document_id: _Optional[str] = ..., position: _Optional[int] = ..., cosine: _Optional[float] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("request_id", "query", "k", "preceding", "exclude_ids", "exclude_cosine")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    PRECEDING_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_COSINE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    query: _vectors_pb2.VectorBlock
    k: int
    preceding: int
    exclude_ids: _containers.RepeatedScalarFieldContainer[int]
    exclude_cosine: float
    def __init__(self, request_id: _Optional[str] = ..., query: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., k: _Optional[int] = ..., preceding: _Optional[int] = ..., exclude_ids: _Optional[_Iterable[int]] = ..., exclude_cosine: _Optional[float] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("request_id", "result", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    result: SearchResult
    error: _vectors_pb2.ItemError
    def __init__(self, request_id: _Optional[str] = ..., result: _Optional[_Union[SearchResult, _Mapping]] = ..., error: _Optional[_Union[_vectors_pb2.ItemError, _Mapping]] = ...) -> None: ...

class SearchResult(_message.Message):
    __slots__ = ("neighbours", "neighbour_vectors", "preceding", "preceding_vectors", "timing", "bank_id")
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOUR_VECTORS_FIELD_NUMBER: _ClassVar[int]
    PRECEDING_FIELD_NUMBER: _ClassVar[int]
    PRECEDING_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    BANK_ID_FIELD_NUMBER: _ClassVar[int]
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    neighbour_vectors: _vectors_pb2.VectorBlock
    preceding: _containers.RepeatedCompositeFieldContainer[Neighbour]
    preceding_vectors: _vectors_pb2.VectorBlock
    timing: _vectors_pb2.Timing
    bank_id: str
    def __init__(self, neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., neighbour_vectors: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., preceding: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., preceding_vectors: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., timing: _Optional[_Union[_vectors_pb2.Timing, _Mapping]] = ..., bank_id: _Optional[str] = ...) -> None: ...
