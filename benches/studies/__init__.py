"""What is measured, one module for each question. `measure` returns what goes into results.json, with
`aims`: what was aimed at, what came out, and whether it holds."""


def aim(text, value, holds, unit=""):
    return {"aim": text, "value": value, "unit": unit, "holds": bool(holds)}


def at_least(text, value, bound, unit="×"):
    return aim(text, value, value >= bound, unit)


def at_most(text, value, bound, unit="×"):
    return aim(text, value, value <= bound, unit)
