"""Exercise of notebook 01, section 3: one step of gradient ascent."""

import copy

import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise

# ---------------- 1.6 ascent_step


def ascent_step(model, x, y, lr):
    """One step of gradient ascent on the mean cross-entropy of (x, y). Returns a new model; `model` stays as it is."""
    student = copy.deepcopy(model)
    loss = F.cross_entropy(student(x), y)
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(student.parameters(), gradients, strict=True):
            weight += lr * gradient
    return student


def _step(student, model, x, y, lr):
    """What the step added to each weight: list of tensors."""
    return [(a - b).detach() for a, b in zip(student.parameters(), model.parameters(), strict=True)]


def _model_cases():
    cases = []
    for i, (what, n, k, lr) in enumerate((("several rows", 12, 3, 0.1), ("one row", 1, 4, 0.5),
                                          ("a large step", 9, 3, 2.0), ("a step of 0", 5, 2, 0.0))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(160 + i)
            model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.ReLU(), torch.nn.Linear(6, k)).eval()
            cases.append((what, (model, torch.randn(n, 5), torch.randint(0, k, (n,)), lr)))
    return cases


def _stepped(model, x, y, lr, loss=F.cross_entropy):
    student = copy.deepcopy(model)
    gradients = torch.autograd.grad(loss(student(x), y), list(student.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(student.parameters(), gradients, strict=True):
            weight += lr * gradient
    return student


def _descent(model, x, y, lr):
    """Descent instead of ascent"""
    return _stepped(model, x, y, -lr)


def _in_place(model, x, y, lr):
    """The given model is changed"""
    model.load_state_dict(_stepped(model, x, y, lr).state_dict())
    return model


def _backward(model, x, y, lr):
    """The gradient is taken by backward() on the loss of the given model, and stays there"""
    F.cross_entropy(model(x), y).backward()
    student = copy.deepcopy(model)
    with torch.no_grad():
        for weight, old in zip(student.parameters(), model.parameters(), strict=True):
            weight += lr * old.grad
    return student


def _sum_of_losses(model, x, y, lr):
    """The sum of the losses instead of their mean"""
    return _stepped(model, x, y, lr * len(x))


def _probabilities(model, x, y, lr):
    """cross_entropy is given probabilities instead of logits"""
    return _stepped(model, x, y, lr, lambda logits, y: F.cross_entropy(logits.softmax(1), y))


def _no_rate(model, x, y, lr):
    """The learning rate is not used"""
    return _stepped(model, x, y, 1.0)


def _no_step(model, x, y, lr):
    """A copy is returned that never took the step"""
    return copy.deepcopy(model)


def _not_returned(model, x, y, lr):
    """The new model is not returned"""


ASCENT = Exercise(
    id="1.6", title="One step uphill", trains="gradient ascent by hand; a method never changes the model it is given",
    difficulty=3, minutes=12, points=2, solution=ascent_step, cases=_model_cases, measure=_step,
    measured="the step (new weights minus old ones)",
    hints=("Training walks against the gradient of the loss. Unlearning by ascent walks along it, on a copy.",
           "θ' = θ + lr · ∇L(θ), with L the mean cross-entropy of the rows.",
           "Copy the model with `copy.deepcopy`. Compute the loss of the copy's logits, get the gradients with "
           "`torch.autograd.grad`, and under `torch.no_grad()` add lr times the gradient to each weight in place."),
    mistakes=(
        (_descent, "you walked downhill: ascent adds the gradient (SGD subtracts it, so give SGD minus the loss)."),
        (_in_place, "the step is right, but it changed the model you were given: work on copy.deepcopy(model)."),
        (_backward, "the step is right, but backward() left a gradient in the weights of the model you were given, and "
                    "the next backward() would add to it: take the loss of the copy, or use torch.autograd.grad."),
        (_sum_of_losses, "you took the sum of the losses: with their mean the step does not grow with the number of "
                         "rows."),
        (_probabilities, "cross_entropy takes logits and applies the softmax itself: yours was applied twice."),
        (_no_rate, "your step does not use lr."),
        (_no_step, "you returned a copy that took no step: was the gradient taken for the copy's own weights?"),
        (_not_returned, "your function returns nothing: return the new model."),
    ),
    remark="labkit.unlearn.gradient_ascent repeats this over batches, with momentum.",
)
