import math

import pytest

from nextvec.capacity.queueing import erlang_b, erlang_c, wait


def directly(servers, load):
    """Erlang's formulas as they are written: (blocked, waits)."""
    terms = [load**k / math.factorial(k) for k in range(servers + 1)]
    blocked = terms[-1] / sum(terms)
    waits = terms[-1] * servers / (servers - load)
    return blocked, waits / (sum(terms[:-1]) + waits)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 1.9), (10, 7.0), (40, 39.0)])
def test_the_recursion_is_erlangs_formula(servers, load):
    blocked, waits = directly(servers, load)
    assert erlang_b(servers, load) == pytest.approx(blocked)
    assert erlang_c(servers, load) == pytest.approx(waits)


def test_it_stays_finite_with_thousands_of_servers():
    assert 0 < erlang_c(5000, 4990) < 1
    assert erlang_c(5000, 3000) < 1e-9
    assert erlang_c(10, 12) == 1


def test_one_server_waits_as_pollaczek_and_khinchine_say():
    assert wait(1, 0.8, 1.0, 1.0).mean == pytest.approx(4.0)
    assert wait(1, 0.8, 1.0, 0.0).mean == pytest.approx(2.0)
    assert wait(1, 0.8, 1.0, 1.0).quantile(0.95) == pytest.approx(math.log(0.8 / 0.05) / 0.2)
    assert wait(1, 0.01, 1.0, 1.0).quantile(0.95) == 0


def test_servers_that_cannot_keep_up_are_refused():
    with pytest.raises(ValueError, match="cannot keep up"):
        wait(3, 3.0, 1.0, 1.0)
