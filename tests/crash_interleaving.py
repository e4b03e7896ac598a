"""Several processes at once, in the crash matrix: threads of which exactly one runs at a time, as a seed says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import Any

from crash_checks import check
from crash_matrix import until_quiet
from crash_process import Process, Violation
from crash_scenarios import Scenario
from cycle_world import World
from venue.faults import Faults, stormy


class Scheduler:
    """Lets processes take turns at every point and every sleep, drawn from a seed; the clock moves when all wait."""

    def __init__(self, world: World, random: Random, death: float) -> None:
        self._world, self._random, self._death = world, random, death
        self._control = threading.Semaphore(0)
        self._turns: dict[str, threading.Semaphore] = {}
        self._awake_ms: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self.trace: list[str] = []

    def hook(self, process: Process, name: str) -> None:
        if self._random.random() < self._death:
            self.trace.append(f"{process.holder} dies {name}")
            process.die()
        self._left[process.holder] -= 1
        if self._left[process.holder] <= 0:
            self.trace.append(f"{process.holder} {name}")
            self._yield(process.holder)

    def sleep_of(self, holder: str) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            self._awake_ms[holder] = self._world.clock.now_ms() + max(round(seconds * 1000), 0)
            self._yield(holder)

        return sleep

    def run(self, works: dict[str, Callable[[], None]]) -> None:
        """Run all works to their ends; an error in one is raised here."""
        errors: list[BaseException] = []

        def thread(holder: str, work: Callable[[], None]) -> None:
            self._turns[holder].acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits for it
                errors.append(error)
            finally:
                del self._turns[holder]
                self._control.release()

        threads = []
        for holder, work in works.items():
            self._turns[holder], self._awake_ms[holder] = threading.Semaphore(0), 0
            self._left[holder] = 1
            threads.append(threading.Thread(target=thread, args=(holder, work), daemon=True))
            threads[-1].start()
        while self._turns:
            if self._random.random() < 0.02:
                self._world.clock.sleep(self._random.choice((0.5, 3.0, 9.0, 40.0)))
            now = self._world.clock.now_ms()
            ready = [holder for holder in self._turns if self._awake_ms[holder] <= now]
            if not ready:
                self._world.clock.advance_to(min(self._awake_ms[holder] for holder in self._turns))
                continue
            chosen = self._random.choice(sorted(ready))
            self._left[chosen] = self._random.choice((1, 1, 2, 4, 16))
            self._turns[chosen].release()
            self._control.acquire()
        for one in threads:
            one.join()
        if errors:
            raise errors[0]

    def _yield(self, holder: str) -> None:
        self._control.release()
        self._turns[holder].acquire()


def play_interleaved(scenario: Scenario, seed: int, processes: int, *, storm: float = 0.08) -> Scheduler:
    """Two or three processes work the slot at once in an order drawn from ``seed``, in bad weather; some die."""
    random = Random(f"{scenario.name} {seed} {processes}")
    world = scenario.begin()
    faults = Faults(draw=stormy(storm, invisible_ms_max=2_500), random=random)
    for second in range(2, 302, 5):
        world.clock.at(world.clock.now_ms() + second * 1000, world.venue.tick)
    scheduler = Scheduler(world, random, random.choice((0.0, 0.0, 0.01, 0.03)))
    lease_seconds = random.choice((0.5, 3.0, 10.0, 60.0))

    def work(holder: str) -> None:
        for _ in range(random.choice((1, 1, 2, 3))):
            process = Process(
                world,
                faults,
                holder,
                hook=scheduler.hook,
                sleep=scheduler.sleep_of(holder),
                lease_seconds=lease_seconds,
                offset_ms=random.randrange(-10_000, 10_000),
            )
            process.run(scenario.slot)

    names = [f"process {number}" for number in range(processes)]
    try:
        scheduler.run({name: (lambda name=name: work(name)) for name in names})
        world.clock.sleep(400.0)  # what is late has arrived, what is in parts is done
        until_quiet(world, Faults(), scenario.slot, "last")
        check_limits(world, check(scenario, world))
    except Violation as violation:
        trace = "\n    ".join(scheduler.trace[-60:])
        raise Violation(violation.check, f"{violation}\n  bad requests: {faults.bad}\n    {trace}") from violation
    return scheduler


def check_limits(world: World, events: list[dict[str, Any]]) -> None:
    """Nothing was traded beyond what the decisions of all sessions asked for in sum, by id."""
    planned: dict[str, int] = {}
    for event in events:
        if event["event"] == "order_planned":
            planned[event["order"]["order_id"]] = event["order"]["quantity"]
    for order in world.venue.accepted:
        own = order.parent or order
        if own.client_id in planned and int(order.executed * 10**8) > planned[own.client_id]:
            raise Violation("doubled order", f"{order} executed more than planned")
