"""configuration-guide: what the connection settings do while the broker is away, full or not who it should be."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
import redis as redis_py
from certificates import issue, terminate_tls
from servers import Redis
from shop import MakeShop, Raised, Shop
from waiting import stays, until

PAGE = "configuration-guide"
TASKS = """
@shared_task(name="proofs.run")
def run(): note("run")
"""


@pytest.mark.proves("configuration-guide#complete-settings")
def test_outage(shop: MakeShop, own_redis: Redis) -> None:
    """Redis goes away for longer than the worker is told to try: it exits, with the default of 100 tries as with one.
    With the page's None it is still there when Redis comes back, and works."""
    exits, page = shop(PAGE, own_redis, CELERY_BROKER_CONNECTION_MAX_RETRIES=1), shop(PAGE, own_redis)
    for each in (exits, page):
        each.tasks(TASKS)
        each.worker("-c", "1", wait=False)
    for each in (exits, page):
        until(lambda each=each: "ready." in each.workers[0].output, 60, "it consumes")
    own_redis.kill()
    until(lambda: exits.workers[0].process.poll() is not None, what="it has exited")
    until(lambda: "(2/None)" in page.workers[0].output, what="the other has tried twice")
    own_redis.start()
    page.do("app.send_task('proofs.run')")
    until(lambda: page.counts()["run"], what="the task ran")
    assert exits.workers[0].process.returncode


@pytest.mark.proves("configuration-guide#complete-settings")
def test_exhausted_pool(shop: MakeShop) -> None:
    """All connections of the pool are taken: a control command waits without end by default and raises OperationalError
    with the page's broker_pool_acquire_timeout, here of one second; .delay() waits without end in spite of it."""
    default = shop(PAGE, CELERY_BROKER_POOL_ACQUIRE_TIMEOUT=None)
    page, publisher = (shop(PAGE, CELERY_BROKER_POOL_ACQUIRE_TIMEOUT=1) for _ in range(2))
    control, publish = "app.control.broadcast('ping')", "app.send_task('any', queue='default', ignore_result=True)"
    for each in (default, page, publisher):
        each.do("held = [app.pool.acquire(block=True) for _ in range(app.pool.limit)]")

    def hang(each: Shop, code: str) -> None:
        with contextlib.suppress(AssertionError):  # the end of its process
            each.do(code)

    waiting = [threading.Thread(target=hang, args=each) for each in ((default, control), (publisher, publish))]
    for thread in waiting:
        thread.start()
    with pytest.raises(Raised) as error:
        page.do(control)
    assert error.value.kind == "OperationalError"
    stays(lambda: all(thread.is_alive() for thread in waiting), 1, "both wait on")
    for each in (default, publisher):
        each.close()
    for thread in waiting:
        thread.join(10)


@pytest.mark.proves("configuration-guide#redis-broker")
def test_eviction(shop: MakeShop, own_redis: Redis, evidence: dict) -> None:
    """A cache in another database of the broker's server pushes the queue out under allkeys-lru; under noeviction
    the cache's writes fail and the queue stays."""
    shop = shop(PAGE, own_redis)
    broker, cache = own_redis.client(), own_redis.client(2)
    left = {}
    for policy in ("allkeys-lru", "noeviction"):
        broker.flushall()
        shop.do("for _ in range(50): app.send_task('any', queue='default', ignore_result=True)")
        assert broker.llen("default") == 50
        broker.config_set("maxmemory-policy", policy)
        broker.config_set("maxmemory", broker.info("memory")["used_memory"] + 2_000_000)
        refused = 0
        for number in range(1000):
            try:
                cache.set(f"page{number}", b"1" * 10_000)
            except redis_py.exceptions.OutOfMemoryError:
                refused += 1
        left[policy] = broker.llen("default")
        assert bool(refused) == (policy == "noeviction")
        broker.config_set("maxmemory", 0)
    assert left == {"allkeys-lru": 0, "noeviction": 50}
    evidence["figures"] |= {f"{policy}: messages left of 50": count for policy, count in left.items()}


@pytest.mark.proves("configuration-guide#redis-broker")
def test_redis_tls(shop: MakeShop, redis: Redis, tmp_path: Path) -> None:
    """A bare rediss:// broker address sends messages to whoever answers, with any certificate, and the result backend
    refuses such an address; with the page's settings the right server is accepted, a stranger is not, nor the
    certificate of another host."""
    issued = {
        "trusted": issue(tmp_path, "trusted"),
        "stranger": issue(tmp_path, "stranger"),
        "elsewhere": issue(tmp_path, "elsewhere", address="127.0.0.2"),
    }
    (tmp_path / "ca.pem").write_bytes(b"".join(issued[name][1].read_bytes() for name in ("trusted", "elsewhere")))
    addresses = {name: f"rediss://127.0.0.1:{terminate_tls(redis.port, *files)}/0" for name, files in issued.items()}

    def publish(base: str, server: str, *, results: bool = True) -> str:
        """What publishing to this server ends with, which also keeps the results or leaves them elsewhere."""
        made = shop(PAGE, redis, base=base)
        made.environment["SHOP_BROKER"] = addresses[server]
        if results:
            made.environment["SHOP_RESULTS"] = addresses[server]
        tls = made.folder / "shop" / "settings_tls.py"
        tls.write_text(tls.read_text().replace("/etc/shop/ca.pem", str(tmp_path / "ca.pem")))
        made.tasks(TASKS)
        try:
            made.do(f"from proofs.tasks import run; run.apply_async(ignore_result={not results})")
        except Raised as error:
            return error.kind
        return ""

    assert publish("settings", "stranger", results=False) == ""
    assert publish("settings", "stranger") == "ValueError"
    assert publish("settings_tls", "trusted") == ""
    assert redis.client().llen("default") == 2
    for server in ("stranger", "elsewhere"):
        assert publish("settings_tls", server, results=False) == "OperationalError"
    assert redis.client().llen("default") == 2


@pytest.mark.proves("configuration-guide#redis-broker")
def test_sentinel_addresses(shop: MakeShop) -> None:
    """`sentinel://a;b` leaves the broker one Sentinel; repeated for each node it has both, and so has the result
    backend, which hears of the second node under a garbled name otherwise."""
    shop = shop(PAGE)
    nodes = """
        import kombu.transport.redis as transport
        from celery.backends.redis import SentinelBackend

        class Asked(Exception):
            pass

        def ask(sentinels, **options):
            raise Asked([host for host, port in sentinels])

        transport.sentinel.Sentinel = ask
        try:
            app.connection_for_write({0!r}, transport_options={{"master_name": "shop"}}).default_channel
        except Asked as asked:
            result = [asked.args[0], [host["host"] for host in SentinelBackend(app=app, url={0!r}).connparams["hosts"]]]
    """
    broker, results = shop.do(nodes.format("sentinel://s1:26379/0;sentinel://s2:26379/0"))
    assert broker == results == ["s1", "s2"]
    broker, results = shop.do(nodes.format("sentinel://s1:26379;s2:26379/0"))
    assert broker == ["s1"] and results != ["s1", "s2"]
