from nextvec.v1 import vectors_pb2 as _vectors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EncodeRequest(_message.Message):
    __slots__ = ("request_id", "texts")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("request_id", "result", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    result: EncodeResult
    error: _vectors_pb2.ItemError
    def __init__(self, request_id: _Optional[str] = ..., result: _Optional[_Union[EncodeResult, _Mapping]] = ..., error: _Optional[_Union[_vectors_pb2.ItemError, _Mapping]] = ...) -> None: ...

class EncodeResult(_message.Message):
    __slots__ = ("vectors", "token_counts", "timing", "model_id")
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    vectors: _vectors_pb2.VectorBlock
    token_counts: _containers.RepeatedScalarFieldContainer[int]
    timing: _vectors_pb2.Timing
    model_id: str
    def __init__(self, vectors: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., token_counts: _Optional[_Iterable[int]] = ..., timing: _Optional[_Union[_vectors_pb2.Timing, _Mapping]] = ..., model_id: _Optional[str] = ...) -> None: ...
