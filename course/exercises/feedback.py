"""Says how a result differs from the expected one: numbers, tensors, lists, dicts, models."""

import numbers

import numpy as np
import torch

CAUSES = {  # the kind of a difference -> a likely cause, where no planted mistake fits
    "length": "something is left out, or counted twice: try it on three rows by hand",
    "shape": "a mean or a maximum was taken along the wrong axis; print the shapes on the way",
    "dtype": "a conversion is missing or one too many (.long(), .float(), .double())",
    "device": "a new tensor was made without device=: make it where the input lies",
    "value": "one step differs from the definition: try it on three rows by hand and compare each "
             "step",
}
ASPECTS = (  # of tensors and arrays, in the order in which they are compared
    ("device", "is on the device", lambda t: t.device if isinstance(t, torch.Tensor) else "cpu"),
    ("dtype", "has the dtype", lambda t: str(t.dtype).removeprefix("torch.")),
    ("shape", "has the shape", lambda t: tuple(t.shape)),
)
TYPES = {  # that count as one, the narrower first -> their name
    bool: "a bool", numbers.Integral: "an int", numbers.Real: "a float", dict: "a dict",
    (list, tuple): "a list or a tuple", torch.nn.Module: "a model", torch.Tensor: "a tensor",
    np.ndarray: "a NumPy array", type(None): "None (is there a return?)",
}


def difference(got, want, rtol=1e-4, atol=1e-6, where="the result") -> tuple[str, str, str] | None:
    """The first thing that differs: (its kind, one sentence, a likely cause), or None.

    Kinds: type, length, shape, dtype, device, value. A whole number may stand for a float.
    """
    types = _type(got), _type(want)
    if types[0] != types[1] and types != ("an int", "a float"):
        return "type", f"{where} is {types[0]}, expected {types[1]}", _conversion(got, want)
    if isinstance(want, list | tuple) and len(got) != len(want):
        text = f"{where} has {_count(len(got), 'entry')}, expected {_count(len(want), 'entry')}"
        return _of("length", text)
    if isinstance(want, list | tuple | dict | torch.nn.Module):
        got_entries, entries = _entries(got), _entries(want)
        if set(got_entries) != set(entries) and isinstance(want, torch.nn.Module):
            return ("shape", f"{where} is a model with other weights than the one it was made from",
                    "change the weights of a copy.deepcopy of that model")
        if set(got_entries) != set(entries):
            return _of("length", f"{where} is {render(got)}, expected {render(want)}")
        parts = (difference(got_entries[k], entries[k], rtol, atol, f"entry [{k}] of {where}")
                 for k in entries)
        return next(filter(None, parts), None)
    if isinstance(want, torch.Tensor | np.ndarray):
        for kind, has, read in ASPECTS:
            if read(got) != read(want):
                return _of(kind, f"{where} {has} {read(got)}, expected {read(want)}")
    if isinstance(want, torch.Tensor):
        got, want = got.detach().cpu().numpy(), want.detach().cpu().numpy()
    if isinstance(want, np.ndarray | numbers.Number):
        return _unlike(got, want, rtol, atol, where)
    text = f"{where} is {render(got)}, expected {render(want)}"
    return None if got == want else _of("value", text)


def _unlike(got, want, rtol, atol, where):
    """The same of two numbers, or of two arrays of one shape."""
    wrong = np.atleast_1d(~np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True))
    if not wrong.any():
        return None
    if np.ndim(want) == 0:
        return _of("value", f"{where} is {_pair(got, want)}")
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return _of("value", f"{where} differs in {_count(int(wrong.sum()), 'place')} of {wrong.size}, "
                        f"first at {list(at)}: got {_pair(got[at], want[at])}")


def pattern(gots, wants) -> str | None:
    """What all results have in common: NaN, sign, opposite, constant, factor, offset, order."""
    got, want = _numbers(gots), _numbers(wants)
    if got is None or want is None or got.shape != want.shape:
        return None
    if np.isnan(got).all():
        return "every value is NaN: something is divided by zero, or a mean is taken over nothing"
    if not np.isfinite(got).all() or len(np.unique(want.round(6))) < 3:
        return None
    atol = 1e-5 * np.abs(want).max()
    if np.allclose(got, -want, rtol=1e-4, atol=atol):
        return "every value has the wrong sign"
    for whole in (1, 100):
        if np.allclose(got + want, whole, rtol=1e-4):
            return f"every value is {whole} minus the expected one: the opposite is measured"
    if np.allclose(got, got[0], rtol=1e-6):
        same = f"the result is {render(got[0])} for every input"
        return f"{same}: something that is given is not used"
    at = np.abs(want).argmax()
    factor = got[at] / want[at]
    if factor != 0 and np.allclose(got, factor * want, rtol=1e-4, atol=atol * abs(factor)):
        if 0 < factor < 1:
            return f"every value is {render(1 / factor)} times too small"
        return f"every value is {render(factor)} times as large as expected"
    if np.allclose(got - want, (got - want)[0], rtol=1e-3, atol=0):
        side = "large" if got[0] > want[0] else "small"
        return f"every value is {render(abs(got[0] - want[0]))} too {side}"
    pairs = zip(map(_numbers, gots), map(_numbers, wants), strict=True)
    if all(g.shape == w.shape and np.allclose(np.sort(g), np.sort(w)) for g, w in pairs):
        return "the values are the right ones, in another order"
    return None


def render(value) -> str:
    """A value in a few characters: numbers rounded, large things by their shape."""
    if isinstance(value, torch.nn.Module):
        weights = sum(p.numel() for p in value.parameters())
        return f"a {type(value).__name__} with {weights} weights"
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim:
        if value.ndim == 1 and len(value) <= 8:
            return render(value.tolist())
        kind = "tensor" if isinstance(value, torch.Tensor) else "array"
        return f"{kind} of shape {tuple(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(render, value[:8])) + (", …]" if len(value) > 8 else "]")
    if isinstance(value, numbers.Real | torch.Tensor | np.ndarray) and not isinstance(value, bool):
        return f"{float(value):.4g}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _pair(got, want):
    """Both numbers, with as many digits as it takes to tell them apart."""
    texts = ([f"{float(v):.{digits}g}" for v in (got, want)] for digits in range(4, 18))
    return ", expected ".join(next(pair for pair in texts if pair[0] != pair[1]))


def _type(value):
    found = (name for kind, name in TYPES.items() if isinstance(value, kind))
    return next(found, f"a {type(value).__name__}")


def _of(kind, text):
    return kind, text, CAUSES[kind]


def _conversion(got, want):
    """What makes a thing of one type into one of another."""
    if got is None:
        return "a way through the function ends without `return`"
    if isinstance(got, torch.Tensor | np.ndarray) and isinstance(want, numbers.Number):
        return (".item() makes a number of a tensor with one element" if np.prod(got.shape) == 1
                else "one number is asked for: a sum, a mean or a choice over the entries is "
                "missing")
    if isinstance(got, torch.Tensor | np.ndarray) and isinstance(want, list | tuple):
        return ".tolist() makes a list of a tensor"
    if isinstance(want, torch.Tensor):
        return ("torch.from_numpy makes a tensor of an array" if isinstance(got, np.ndarray) else
                "make a tensor of it: torch.stack of tensors, torch.tensor of numbers")
    if isinstance(want, numbers.Integral) and isinstance(got, numbers.Real):
        return "a whole number is asked for: int(…), or // instead of /"
    return "the docstring says what comes out: mind what is put together in the last line"


def _entries(value):
    """Name or place -> entry, of a model, a dict or a list."""
    if isinstance(value, torch.nn.Module):
        return dict(value.named_parameters())
    return value if isinstance(value, dict) else dict(enumerate(value))


def _numbers(value):
    """All numbers in a value as one float array, or None where there is something else."""
    if isinstance(value, list | tuple | torch.nn.Module):
        parts = [_numbers(v) for v in _entries(value).values()]
        return None if any(p is None for p in parts) else np.concatenate([np.zeros(0), *parts])
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | numbers.Real) and np.asarray(value).dtype.kind in "biuf":
        return np.asarray(value, float).ravel()
    return None


def _count(n, word):
    return f"{n} {word if n == 1 else word.replace('entry', 'entrie') + 's'}"
