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


def difference(got, want, rtol=1e-4, atol=1e-6, where="the result") -> tuple[str, str, str] | None:
    """The first thing that differs: (its kind, one sentence, a likely cause), or None.

    Kinds: type, length, shape, dtype, device, value. Lists and tuples count as one type, and so do
    whole and floating-point numbers where a float is expected.
    """
    if not _same_type(got, want):
        text = f"{where} is {_type_name(got)}, expected {_type_name(want)}"
        return "type", text, _conversion(got, want)
    if isinstance(want, list | tuple):
        if len(got) != len(want):
            text = f"{where} has {_count(len(got), 'entry')}, expected {_count(len(want), 'entry')}"
            return _of("length", text)
        got, want = dict(enumerate(got)), dict(enumerate(want))
    if isinstance(want, dict):
        if set(got) != set(want):
            return _of("length", f"{where} is {render(got)}, expected {render(want)}")
        parts = (difference(got[k], want[k], rtol, atol, f"entry [{k}] of {where}") for k in want)
        return next(filter(None, parts), None)
    if isinstance(want, torch.nn.Module):
        got, want = ({k: w.detach() for k, w in m.named_parameters()} for m in (got, want))
        if set(got) != set(want):
            text = f"{where} is a model with other weights than the one it was made from"
            return _of("shape", text)
        parts = (difference(got[k], want[k], rtol, atol, f"the weight {k!r}") for k in want)
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
    """What all results have in common: sign, factor, offset, opposite, order, NaN; or None."""
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
        return f"every value is {_factor(factor)}"
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
            return "[" + ", ".join(render(v) for v in value.tolist()) + "]"
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
    for digits in range(4, 17):
        texts = [f"{float(v):.{digits}g}" for v in (got, want)]
        if texts[0] != texts[1]:
            break
    return f"{texts[0]}, expected {texts[1]}"


def _same_type(got, want):
    for kind in (bool, numbers.Real, list | tuple, torch.nn.Module, torch.Tensor, np.ndarray):
        if isinstance(want, kind):
            whole = isinstance(want, numbers.Integral) and not isinstance(want, bool)
            return (isinstance(got, kind) and (kind is bool or not isinstance(got, bool))
                    and not (whole and not isinstance(got, numbers.Integral)))
    return isinstance(got, type(want))


def _of(kind, text):
    return kind, text, CAUSES[kind]


def _conversion(got, want):
    """What makes a thing of one type into one of another."""
    if got is None:
        return "a way through the function ends without `return`"
    if isinstance(got, torch.Tensor | np.ndarray):
        if isinstance(want, numbers.Number):
            return (".item() makes a number of a tensor with one element"
                    if np.prod(got.shape) == 1 else "one number is asked for: a sum, a mean or a "
                    "choice over the entries is missing")
        if isinstance(want, list | tuple):
            return ".tolist() makes a list of a tensor"
    if isinstance(want, torch.Tensor):
        return ("torch.from_numpy makes a tensor of an array" if isinstance(got, np.ndarray) else
                "make a tensor of it: torch.stack of tensors, torch.tensor of numbers")
    if isinstance(want, numbers.Integral) and isinstance(got, numbers.Real):
        return "a whole number is asked for: int(…), or // instead of /"
    return "the docstring says what comes out: mind what is put together in the last line"


def _type_name(value):
    if value is None:
        return "None (is there a return?)"
    names = {torch.nn.Module: "a model", torch.Tensor: "a tensor", np.ndarray: "a NumPy array",
             bool: "a bool", float: "a float", int: "an int"}
    found = (name for kind, name in names.items() if isinstance(value, kind))
    return next(found, f"a {type(value).__name__}")


def _factor(factor):
    if factor < 0:
        return f"{render(factor)} times the expected one"
    larger = f"{render(factor)} times as large as expected"
    return larger if factor > 1 else f"{render(1 / factor)} times too small"


def _numbers(value):
    """All numbers in a value as one float array, or None where there is something else."""
    if isinstance(value, torch.nn.Module):
        value = list(value.parameters())
    if isinstance(value, list | tuple):
        parts = [_numbers(v) for v in value]
        return None if any(p is None for p in parts) else np.concatenate([np.zeros(0), *parts])
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | numbers.Real) and np.asarray(value).dtype.kind in "biuf":
        return np.asarray(value, float).ravel()
    return None


def _count(n, word):
    return f"{n} {word if n == 1 else word.replace('entry', 'entrie') + 's'}"
