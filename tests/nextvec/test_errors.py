import grpc
import pytest

from nextvec import errors
from nextvec.errors import InternalError, NextvecError, QueueFull, from_item, status_of, to_item


def all_classes(cls=NextvecError):
    for child in cls.__subclasses__():
        yield child
        yield from all_classes(child)


CLASSES = [cls for cls in all_classes() if cls.__module__ == "nextvec.errors"]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_class_has_a_status(cls):
    assert isinstance(status_of(cls("x")), grpc.StatusCode)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_class_is_in_the_drawing_with_its_status(cls):
    lines = [line for line in errors.__doc__.splitlines() if cls.__name__ in line.split()]
    assert len(lines) == 1
    if cls in errors.STATUS:
        assert errors.STATUS[cls].name in lines[0]


def test_no_two_classes_share_a_status():
    assert len(set(errors.STATUS.values())) == len(errors.STATUS)


def test_a_subclass_has_the_status_of_its_nearest_ancestor():
    class Stranger(errors.UnknownRoute):
        pass

    assert status_of(Stranger("x")) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_from_an_item_as_it_went(cls):
    back = from_item(to_item(cls("what is wrong")))
    assert type(back) is cls
    assert back.message == "what is wrong"


def test_retry_delay_and_error_id_come_back_from_an_item():
    assert from_item(to_item(QueueFull("full", 40))).retry_delay_ms == 40
    bug = InternalError.new()
    assert bug.error_id in bug.message
    assert from_item(to_item(bug)).error_id == bug.error_id


def test_an_item_of_an_unknown_kind_becomes_its_codes_class():
    item = to_item(errors.WrongSpace("x"))
    item.kind = "FromTheFuture"
    assert type(from_item(item)) is errors.FailedPrecondition
    item.code = 999
    assert type(from_item(item)) is InternalError


class Failed(grpc.RpcError):
    def __init__(self, code, metadata=()):
        self._code, self._metadata = code, metadata

    def code(self):
        return self._code

    def details(self):
        return "the details"

    def trailing_metadata(self):
        return self._metadata


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_from_a_status_as_it_went(cls):
    error = cls("x")
    back = errors.from_rpc(Failed(status_of(error), errors.trailing_metadata(error)), "encoder")
    assert type(back) is cls
    assert back.message == "the details"


def test_retry_delay_and_error_id_come_back_from_a_status():
    for error in (QueueFull("full", 40), InternalError.new()):
        back = errors.from_rpc(Failed(status_of(error), errors.trailing_metadata(error)), "encoder")
        assert (back.retry_delay_ms, back.error_id) == (error.retry_delay_ms, error.error_id)


def test_a_status_that_no_server_of_ours_sent_names_the_stage():
    back = errors.from_rpc(Failed(grpc.StatusCode.UNAVAILABLE), "encoder")
    assert type(back) is errors.StageUnavailable
    assert back.message == "encoder: the details"


def test_a_status_outside_the_table_is_an_internal_error_that_says_so():
    back = errors.from_rpc(Failed(grpc.StatusCode.DATA_LOSS), "encoder")
    assert type(back) is InternalError
    assert "encoder answered DATA_LOSS" in back.message


def test_a_status_that_was_lost_as_the_call_ended_is_no_fault_inside():
    lost = Failed(grpc.StatusCode.INTERNAL)
    lost.details = lambda: "Internal error from Core"
    assert type(errors.from_rpc(lost, "encoder")) is errors.StageUnavailable
    assert type(errors.from_rpc(Failed(grpc.StatusCode.INTERNAL), "encoder")) is InternalError


def test_a_call_that_is_not_known_there_says_that_another_server_answers():
    back = errors.from_rpc(Failed(grpc.StatusCode.UNIMPLEMENTED), "the gateway")
    assert type(back) is InternalError
    assert back.message == "the gateway does not know the call: another server, or version, answers there"
