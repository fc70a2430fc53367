"""Learning-rate schedules: a step and a length in, a factor in [0, 1] out."""

import math


def trapezoid(step: int, steps: int, warmup: int, decay: float = 0.3) -> float:
    """Rise over `warmup` steps, hold, then fall in a straight line to 0 over the last `decay` share of `steps`."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (decay * steps))


def constant(step: int, steps: int, warmup: int) -> float:
    """Rise in a straight line over `warmup` steps, then hold."""
    return min(1.0, (step + 1) / (warmup + 1))


def cosine(step: int, steps: int, warmup: int) -> float:
    """Rise over `warmup` steps, then fall along half a cosine to 0 at `steps`."""
    if step < warmup:
        return constant(step, steps, warmup)
    return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


SCHEDULES = {"constant": constant, "cosine": cosine}
