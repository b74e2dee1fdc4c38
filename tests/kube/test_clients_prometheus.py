"""The Prometheus client, with a real Prometheus and with servers that answer wrongly."""

import base64
import json
import math
import time
from pathlib import Path

import pytest

from edgecanary.analysis.query import QueryError, Sample, Vector
from edgecanary.base.errors import InvalidInput
from edgecanary.clients.prometheus import MAX_ANSWER_BYTES, Prometheus, Trust
from edgelab.certificates import Authority
from edgelab.ports import free_port
from edgelab.prometheus import Prometheus as RealPrometheus
from tests.kube.wrong_servers import (
    Behaviour,
    answer,
    cut_short,
    drip,
    endless,
    hang_up,
    serving,
    silence,
)

SECONDS = 20.0


def ask(
    url: str, promql: str = "up", *, trust: Trust | None = None, seconds: float = SECONDS
) -> Vector | QueryError:
    return Prometheus(url, timeout_seconds=seconds, trust=trust).query(promql)


def failure(url: str, promql: str = "up", *, seconds: float = SECONDS) -> QueryError:
    found = ask(url, promql, seconds=seconds)
    assert isinstance(found, QueryError), found
    return found


def ok(result_type: str, result: object, **more: object) -> Behaviour:
    body = {"status": "success", "data": {"resultType": result_type, "result": result}, **more}
    return answer("200 OK", json.dumps(body).encode())


class TestARealPrometheus:
    def test_a_vector_is_read_with_its_labels(self, prometheus: RealPrometheus) -> None:
        found = ask(prometheus.url, 'label_replace(vector(42.5), "node", "n1", "", "")')
        assert found == Vector((Sample((("node", "n1"),), 42.5),))

    def test_a_scalar_counts_as_one_sample(self, prometheus: RealPrometheus) -> None:
        assert ask(prometheus.url, "scalar(vector(3))") == Vector((Sample((), 3.0),))

    def test_no_data_is_an_empty_vector(self, prometheus: RealPrometheus) -> None:
        assert ask(prometheus.url, "nothing_of_this_name") == Vector()

    def test_not_a_number_and_infinity_come_through(self, prometheus: RealPrometheus) -> None:
        nan, infinite = ask(prometheus.url, "vector(0) / 0"), ask(prometheus.url, "vector(1) / 0")
        assert isinstance(nan, Vector)
        assert math.isnan(nan.samples[0].value)
        assert infinite == Vector((Sample((), math.inf),))

    def test_a_query_that_does_not_parse_is_refused_in_prometheuss_words(
        self, prometheus: RealPrometheus
    ) -> None:
        found = failure(prometheus.url, "sum(up")
        assert found.reason == "QueryInvalid"
        assert "parse error: unclosed left parenthesis" in found.message

    def test_a_query_that_cannot_be_executed_is_invalid_too(self, prometheus: RealPrometheus) -> None:
        found = failure(
            prometheus.url,
            'vector(1) + on(a) group_left(b) vector(2) or label_replace(up, "a", "$1", "b", "(")',
        )
        assert found.reason == "QueryInvalid"

    @pytest.mark.parametrize(("promql", "kind"), [("up[5m]", "matrix"), ('"text"', "string")])
    def test_what_is_neither_vector_nor_scalar_is_refused(
        self, prometheus: RealPrometheus, promql: str, kind: str
    ) -> None:
        found = failure(prometheus.url, promql)
        assert found.reason == "PrometheusGarbage"
        assert f"the query gives a {kind}, it must give a vector or a scalar" in found.message

    def test_a_long_query_is_no_problem(self, prometheus: RealPrometheus) -> None:
        nodes = "|".join(f"node-{number}" for number in range(500))
        assert ask(prometheus.url, f'up{{node=~"{nodes}"}} or vector(1)') == Vector((Sample((), 1.0),))

    def test_a_prometheus_that_hangs_is_given_up_at_the_deadline(self, prometheus: RealPrometheus) -> None:
        prometheus.process.pause()
        found = failure(prometheus.url, seconds=0.5)
        prometheus.process.resume()
        assert found.reason == "PrometheusUnavailable"
        assert "no complete answer within 0.5 s" in found.message

    def test_a_prometheus_that_is_stopped_is_unavailable(self, prometheus: RealPrometheus) -> None:
        prometheus.stop()
        found = failure(prometheus.url)
        assert found.reason == "PrometheusUnavailable"
        assert prometheus.url in found.message
        assert "Connection refused" in found.message


class TestWrongAnswers:
    @pytest.mark.parametrize(
        ("behaviour", "reason", "words"),
        [
            (answer("500 Internal Server Error", b"boom"), "PrometheusUnavailable", "HTTP 500: boom"),
            (answer("503 Service Unavailable", b""), "PrometheusUnavailable", "HTTP 503"),
            (answer("429 Too Many Requests", b"slow down"), "PrometheusUnavailable", "HTTP 429: slow down"),
            (
                answer("404 Not Found", b"<html>no</html>"),
                "PrometheusRefused",
                "check spec.analysis.prometheus.url",
            ),
            (
                answer("401 Unauthorized", b""),
                "PrometheusRefused",
                "check spec.analysis.prometheus.secretRef",
            ),
            (answer("403 Forbidden", b"{}"), "PrometheusRefused", "check spec.analysis.prometheus.secretRef"),
            (
                answer("200 OK", b"<html>hello</html>"),
                "PrometheusGarbage",
                "this is not the answer of a Prometheus",
            ),
            (answer("200 OK", b""), "PrometheusGarbage", "this is not the answer of a Prometheus"),
            (answer("200 OK", b'{"status":"success"}'), "PrometheusGarbage", "HTTP 200"),
            (answer("204 No Content", b""), "PrometheusGarbage", "HTTP 204"),
            (ok("vector", [{"metric": {}, "value": [1, "one"]}]), "PrometheusGarbage", "not a number"),
            (ok("vector", [{"metric": {}, "value": [1, 5]}]), "PrometheusGarbage", "HTTP 200"),
            (ok("vector", [{"metric": {}, "histogram": [1, {}]}]), "PrometheusGarbage", "HTTP 200"),
            (ok("vector", [{"metric": {"a": 1}, "value": [1, "5"]}]), "PrometheusGarbage", "HTTP 200"),
            (ok("vector", {}), "PrometheusGarbage", "HTTP 200"),
            (ok("streams", []), "PrometheusGarbage", "HTTP 200"),
            (
                ok("vector", [], warnings=["store 2 is away"]),
                "PrometheusUnavailable",
                "in part: store 2 is away",
            ),
            (endless, "PrometheusGarbage", f"longer than {MAX_ANSWER_BYTES} bytes"),
            (cut_short(b'{"status":', length=500), "PrometheusUnavailable", "does not answer"),
            (hang_up, "PrometheusUnavailable", "does not answer"),
            (silence, "PrometheusUnavailable", "no complete answer within 0.5 s"),
            (drip(b""), "PrometheusUnavailable", "no complete answer within 0.5 s"),
            (drip(b"HTTP/1.1 200 OK\r\nX: "), "PrometheusUnavailable", "no complete answer within 0.5 s"),
            (
                drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.01),
                "PrometheusUnavailable",
                "no complete answer within 0.5 s",
            ),
            (answer("200 OK", b"x" * 100, "Content-Encoding: gzip"), "PrometheusGarbage", "HTTP 200"),
        ],
    )
    def test_a_wrong_answer_is_an_error_that_says_what_was_wrong(
        self, behaviour: Behaviour, reason: str, words: str
    ) -> None:
        with serving(behaviour) as server:
            found = failure(server.url, seconds=0.5 if "within 0.5 s" in words else SECONDS)
        assert found.reason == reason, found.message
        assert words in found.message

    def test_notes_on_the_query_itself_do_not_spoil_the_answer(self) -> None:
        note = "PromQL warning: metric might not be a counter"
        with serving(
            ok("vector", [{"metric": {}, "value": [1, "5"]}], warnings=[note], infos=["x"])
        ) as server:
            assert ask(server.url) == Vector((Sample((), 5.0),))

    def test_a_dripping_server_holds_nobody_past_the_deadline(self) -> None:
        with serving(drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.02)) as server:
            begin = time.monotonic()
            failure(server.url, seconds=0.3)
            elapsed = time.monotonic() - begin
        assert elapsed < 30, "the server would go on for a minute"

    def test_a_redirect_is_not_followed_and_the_final_address_is_asked_for(self) -> None:
        with serving(ok("vector", [])) as elsewhere:
            redirect = answer("302 Found", b"", f"Location: {elsewhere.url}/login")
            with serving(redirect) as server:
                found = failure(server.url)
            assert elsewhere.requests == []
        assert found.reason == "PrometheusRefused"
        assert f"redirects to {elsewhere.url}/login; set spec.analysis.prometheus.url" in found.message

    def test_nobody_listens(self) -> None:
        assert failure(f"http://127.0.0.1:{free_port()}").reason == "PrometheusUnavailable"

    def test_a_host_that_does_not_exist(self) -> None:
        found = failure("http://no-such-host.invalid:9090")
        assert found.reason == "PrometheusUnavailable"
        assert "object at 0x" not in found.message


class TestTrust:
    def test_a_token_is_sent_as_bearer(self) -> None:
        trust = Trust.from_secret({"token": b"abc\n"}, name="prom")
        with serving(ok("vector", [])) as server:
            assert ask(server.url, trust=trust) == Vector()
        assert b"Authorization: Bearer abc\r\n" in server.requests[0]

    def test_user_and_password_are_sent_as_basic(self) -> None:
        trust = Trust.from_secret({"username": b"ann", "password": b"p:w"}, name="prom")
        with serving(ok("vector", [])) as server:
            ask(server.url, trust=trust)
        assert b"Authorization: Basic " + base64.b64encode(b"ann:p:w") in server.requests[0]

    def test_a_private_authority_is_trusted_when_it_is_given(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        pair = authority.server("prometheus")
        trust = Trust.from_secret({"ca.crt": authority.certificate.read_bytes()}, name="prom")
        with serving(ok("vector", []), certificate=(pair.certificate, pair.key)) as server:
            assert ask(server.url, trust=trust) == Vector()
            found = failure(server.url)
        assert found.reason == "PrometheusUnavailable"
        assert "certificate verify failed" in found.message

    @pytest.mark.parametrize(
        ("data", "rule"),
        [
            (
                {"token": b"a", "username": b"b", "password": b"c"},
                "must hold token, or username and password, not both",
            ),
            ({"username": b"b"}, "must hold password next to username"),
            ({"token": b"\xff"}, "must hold text under token"),
            ({"token": b"a\r\nX: y"}, "must hold a token of printable characters"),
        ],
    )
    def test_a_secret_that_cannot_be_used_is_named_with_the_rule(
        self, data: dict[str, bytes], rule: str
    ) -> None:
        with pytest.raises(InvalidInput, match=f"spec.analysis.prometheus.secretRef: Secret prom {rule}"):
            Trust.from_secret(data, name="prom")

    def test_an_authority_that_is_no_certificate_is_named(self) -> None:
        trust = Trust.from_secret({"ca.crt": b"nonsense"}, name="prom")
        with pytest.raises(InvalidInput, match=r"ca\.crt: must hold certificates in PEM"):
            Prometheus("https://127.0.0.1:1", timeout_seconds=1, trust=trust)

    def test_secrets_do_not_show_in_texts(self) -> None:
        assert "abc" not in repr(Trust.from_secret({"token": b"abc"}, name="prom"))
