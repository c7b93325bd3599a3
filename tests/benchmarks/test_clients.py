"""Sixteen clients at once against one, and a model that changes under their load."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.benchmarks.conftest import Bench
from tests.fixtures import figures

pytestmark = pytest.mark.timeout(3600)

ROUNDS, CLIENTS, EACH = 5, 16, 8
SWAPS, SWAP_SECONDS = 5, 4.0


def test_sixteen_clients_and_one(bench: Bench, seed: int) -> None:
    """The same tasks: in batches one after another, and single ones, by one client and by sixteen."""
    urls = bench.urls[: CLIENTS * EACH]
    sizes = {"batches of 8": EACH, "single tasks": 1}
    rates: dict[str, dict[int, list[float]]] = {name: {1: [], CLIENTS: []} for name in sizes}
    for _ in range(ROUNDS):
        for name, size in sizes.items():
            for clients in (1, CLIENTS):
                bench.forget()
                rates[name][clients].append(len(urls) / _all(bench, urls, clients, size))
    ratios = {name: statistics.median(found[CLIENTS]) / statistics.median(found[1]) for name, found in rates.items()}
    figures.write("bench/clients.json", {"seed": seed, "clients": CLIENTS, "images_per_second": rates, "ratios": ratios})


def _all(bench: Bench, urls: list[str], clients: int, size: int) -> float:
    """Seconds until all tasks are answered; raises for one that is not."""
    batches = [urls[start : start + size] for start in range(0, len(urls), size)]
    start = time.perf_counter()
    with ThreadPoolExecutor(clients, initializer=_connect) as pool:
        answers = list(pool.map(lambda batch: bench.ask(batch, LOCAL.session), batches))
    assert all(entry for answer in answers for entry in answer), "a task was not answered"
    return time.perf_counter() - start


LOCAL = threading.local()


def _connect() -> None:
    LOCAL.session = requests.Session()


def test_the_model_changes_under_load(bench: Bench, seed: int) -> None:
    """Every answer is counted: failed ones, empty ones, those that mix two versions; and how soon the new version is the only one."""
    urls, stop = bench.urls, threading.Event()
    seen: list[tuple[float, float, frozenset[str]]] = []
    failed: Counter[str] = Counter()

    def client(number: int) -> None:
        session, at = requests.Session(), number
        while not stop.is_set():
            begun = time.monotonic()
            try:
                answers = bench.ask([urls[(at + step) % len(urls)] for step in range(2)], session)
            except requests.RequestException as error:
                failed[type(error).__name__] += 1
                continue
            at += 7
            failed["empty"] += sum(not entry for entry in answers)
            seen.append((begun, time.monotonic(), frozenset(entry[0]["model_version"] for entry in answers if entry)))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        time.sleep(SWAP_SECONDS)
        late = [_swap(bench, seen) for _ in range(SWAPS)]
        stop.set()
        for one in clients:
            one.result()
    found = {
        "seed": seed, "clients": CLIENTS, "swaps": SWAPS, "requests": len(seen), "failed": +failed,
        "mixed": sum(len(versions) > 1 for _, _, versions in seen), "versions": len(frozenset().union(*(versions for _, _, versions in seen))),
        "seconds_until_only_the_new_one": max(late),
    }  # fmt: skip
    figures.write("bench/hot_swap.json", found)


def _swap(bench: Bench, seen: list[tuple[float, float, frozenset[str]]]) -> float:
    """Deploy; seconds until the last request began that the old version answered."""
    row, deployed = bench.deploy(), time.monotonic()
    time.sleep(SWAP_SECONDS)
    return max(0.0, *(begun - deployed for begun, _, versions in list(seen) if row.served_as not in versions))
