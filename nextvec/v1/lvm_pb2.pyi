from nextvec.v1 import vectors_pb2 as _vectors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("request_id", "route", "context")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    route: str
    context: _vectors_pb2.VectorBlock
    def __init__(self, request_id: _Optional[str] = ..., route: _Optional[str] = ..., context: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("request_id", "result", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    result: PredictResult
    error: _vectors_pb2.ItemError
    def __init__(self, request_id: _Optional[str] = ..., result: _Optional[_Union[PredictResult, _Mapping]] = ..., error: _Optional[_Union[_vectors_pb2.ItemError, _Mapping]] = ...) -> None: ...

class PredictResult(_message.Message):
    __slots__ = ("prediction", "model_id", "timing")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    prediction: _vectors_pb2.VectorBlock
    model_id: str
    timing: _vectors_pb2.Timing
    def __init__(self, prediction: _Optional[_Union[_vectors_pb2.VectorBlock, _Mapping]] = ..., model_id: _Optional[str] = ..., timing: _Optional[_Union[_vectors_pb2.Timing, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("route", "name", "architecture", "parameters", "space", "sha256", "trained_on", "loaded")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TRAINED_ON_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    route: str
    name: str
    architecture: str
    parameters: int
    space: str
    sha256: str
    trained_on: _containers.RepeatedCompositeFieldContainer[DataSource]
    loaded: bool
    def __init__(self, route: _Optional[str] = ..., name: _Optional[str] = ..., architecture: _Optional[str] = ..., parameters: _Optional[int] = ..., space: _Optional[str] = ..., sha256: _Optional[str] = ..., trained_on: _Optional[_Iterable[_Union[DataSource, _Mapping]]] = ..., loaded: _Optional[bool] = ...) -> None: ...

class DataSource(_message.Message):
    __slots__ = ("source", "licence", "documents", "chunks")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    source: str
    licence: str
    documents: int
    chunks: int
    def __init__(self, source: _Optional[str] = ..., licence: _Optional[str] = ..., documents: _Optional[int] = ..., chunks: _Optional[int] = ...) -> None: ...
