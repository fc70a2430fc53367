"""Learning-rate schedules: a step and a length in, a factor in [0, 1] out."""


def trapezoid(step: int, steps: int, warmup: int, decay: float = 0.3) -> float:
    """Rise over `warmup` steps, hold, then fall in a straight line to 0 over the last `decay` share of `steps`."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (decay * steps))
