"""Exercise of notebook 12 on keeping a mask: one SGD step that no pruned weight survives."""

import torch

from course.exercises.engine import Exercise

# ---------------- 12.3 masked_step


def masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """One SGD step; where keep is False, weight and velocity end at 0. -> (new weight, new velocity)"""
    new_velocity = keep * (momentum * velocity + grad + weight_decay * weight)
    return keep * (weight - lr * new_velocity), new_velocity


def _step_cases():
    g, cases = torch.Generator().manual_seed(73), []

    def draw(shape, scale=1.0):
        return scale * torch.randn(shape, generator=g)

    for what, shape, lr, momentum, decay in (("just pruned: nothing is 0 yet", (3, 4), 0.1, 0.9, 0.05),
                                             ("a convolution, just pruned", (2, 3, 2, 2), 0.5, 0.8, 0.3),
                                             ("no momentum", (2, 5), 0.3, 0.0, 0.2),
                                             ("no weight decay", (4, 2), 0.3, 0.9, 0.0),
                                             ("a learning rate of 0", (3, 3), 0.0, 0.5, 0.1)):
        keep = torch.rand(shape, generator=g) < 0.5
        cases.append((what, (draw(shape), draw(shape), draw(shape), keep, lr, momentum, decay)))
    keep = torch.rand((4, 5), generator=g) < 0.3
    pruned = keep * draw((4, 5))
    only = torch.tensor([[True, False, True], [False, True, False]])
    return cases + [
        ("weights pruned, velocity from before", (pruned, draw((4, 5)), draw((4, 5)), keep, 0.2, 0.9, 0.1)),
        ("weights pruned, no velocity yet", (pruned, draw((4, 5)), torch.zeros(4, 5), keep, 0.2, 0.9, 0.1)),
        ("no gradient", (draw((2, 3)), torch.zeros(2, 3), draw((2, 3)), only, 0.4, 0.7, 0.5)),
        ("nothing is pruned", (draw((3, 2)), draw((3, 2)), draw((3, 2)), torch.ones(3, 2).bool(), 0.1, 0.9, 0.2)),
        ("everything is pruned", (draw((2, 2)), draw((2, 2)), draw((2, 2)), torch.zeros(2, 2).bool(), 0.1, 0.9, 0.2)),
        ("float64", (draw((2, 3)).double(), draw((2, 3)).double(), draw((2, 3)).double(), only, 0.3, 0.6, 0.4)),
    ]


def _plain(weight, grad, velocity, lr, momentum, weight_decay):
    """The step of an optimizer that knows no mask."""
    velocity = momentum * velocity + grad + weight_decay * weight
    return weight - lr * velocity, velocity


def _no_mask(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The mask is not used"""
    return _plain(weight, grad, velocity, lr, momentum, weight_decay)


def _gradient_only(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Only the gradient is masked"""
    return _plain(weight, keep * grad, velocity, lr, momentum, weight_decay)


def _weight_first(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The weight is masked before the step and not after it"""
    return _plain(keep * weight, grad, velocity, lr, momentum, weight_decay)


def _weight_and_gradient(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Weight and gradient are masked before the step; the velocity brings pruned weights back"""
    return _plain(keep * weight, keep * grad, velocity, lr, momentum, weight_decay)


def _before_decay(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Gradient and velocity are masked before weight decay is added"""
    return _plain(weight, keep * grad, keep * velocity, lr, momentum, weight_decay)


def _velocity_only(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The velocity is masked, the weight keeps its old value"""
    velocity = masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay)[1]
    return weight - lr * velocity, velocity


def _weight_only(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The weight is masked, the velocity goes on at pruned weights"""
    weight, velocity = _plain(weight, grad, velocity, lr, momentum, weight_decay)
    return keep * weight, velocity


def _inverted(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The mask is read the other way round"""
    return masked_step(weight, grad, velocity, ~keep, lr, momentum, weight_decay)


def _in_place(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Weight and velocity are changed in place"""
    velocity.mul_(momentum).add_(grad + weight_decay * weight).mul_(keep)
    return weight.sub_(lr * velocity).mul_(keep), velocity


def _no_velocity(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The old velocity is forgotten"""
    return masked_step(weight, grad, 0 * velocity, keep, lr, momentum, weight_decay)


def _old_velocity(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The step is taken with the velocity before this gradient"""
    new = masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay)[1]
    return keep * (weight - lr * velocity), new


def _returns_old(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The old velocity is returned"""
    return masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay)[0], velocity


def _no_decay(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Weight decay is forgotten"""
    return masked_step(weight, grad, velocity, keep, lr, momentum, 0)


def _decoupled(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Weight decay shrinks the weight directly and stays out of the velocity"""
    new, velocity = masked_step(weight, grad, velocity, keep, lr, momentum, 0)
    return new - keep * lr * weight_decay * weight, velocity


def _damped(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The gradient is multiplied by 1 - momentum"""
    velocity = keep * (momentum * velocity + (1 - momentum) * (grad + weight_decay * weight))
    return keep * (weight - lr * velocity), velocity


def _lr_inside(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The learning rate is in the velocity instead of the step"""
    velocity = keep * (momentum * velocity + lr * (grad + weight_decay * weight))
    return keep * (weight - velocity), velocity


def _uphill(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """The step goes up"""
    return masked_step(weight, grad, velocity, keep, -lr, momentum, weight_decay)


def _swapped(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """Velocity first, then weight"""
    return masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay)[::-1]


STEP = Exercise(
    id="12.3", title="A step that keeps the mask",
    trains="where a mask is lost: momentum and weight decay move weights whose gradient is 0",
    difficulty=3, minutes=12, points=2, solution=masked_step, cases=_step_cases,
    hints=("Three things move a weight: its gradient, its decay, and the velocity it had before. A mask on one of them "
           "leaves two. So let all three come together, and mask what comes out: the velocity, and the weight.",
           "v′ = m ⊙ (μ v + g + λ w) and w′ = m ⊙ (w − η v′), with the mask m (1 where keep is True), momentum μ, "
           "gradient g, weight decay λ and learning rate η.",
           "Add momentum times the velocity, the gradient, and the decay times the weight. Multiply the sum by `keep`: "
           "this is the new velocity. Take the learning rate times it off the weight, and multiply by `keep` again. "
           "Make new tensors, and return the weight first."),
    mistakes=(
        (_no_mask, "this is a plain SGD step. Mask the new velocity and the new weight."),
        (_gradient_only, "you masked the gradient alone. Old velocity and weight decay still move pruned weights: mask "
                         "the new velocity and the new weight."),
        (_weight_first, "you masked the weight before the step, and the step brings it back. Mask after it."),
        (_weight_and_gradient, "you masked weight and gradient before the step, and the old velocity brings pruned "
                               "weights back. Mask the new velocity and the new weight."),
        (_before_decay, "you masked before weight decay was added, so pruned weights decay slowly instead of being 0. "
                        "Mask the new velocity and the new weight."),
        (_velocity_only, "you masked the velocity, so pruned weights stay where they are. They should be 0: mask the "
                         "new weight too."),
        (_weight_only, "you masked the weight, but its velocity goes on at pruned places. Mask the new velocity too."),
        (_inverted, "you took the mask the other way round. True means that a weight stays."),
        (_in_place, "you changed weight and velocity in place. Make new tensors: `a * b` instead of `a *= b` or "
                    "`a.mul_(b)`."),
        (_no_velocity, "the old velocity is missing. Add momentum times it."),
        (_old_velocity, "your step uses the velocity before this gradient. Compute the new velocity first."),
        (_returns_old, "you returned the velocity that was given. Return the new one."),
        (_no_decay, "weight decay is missing. Add it times the weight to the gradient."),
        (_decoupled, "your weight decay stays out of the velocity, as in AdamW. In SGD it is added to the gradient."),
        (_damped, "you multiplied the gradient by 1 − momentum. PyTorch's SGD adds the whole gradient."),
        (_lr_inside, "the learning rate is in your velocity. It belongs to the step alone."),
        (_uphill, "your step goes up the gradient. SGD subtracts it."),
        (_swapped, "you returned the velocity first. The weight comes first."),
    ),
    remark="`unlearn.fit_masked` gets the same by computing with weight · mask, so that no optimizer can revive a "
           "pruned weight, and checks it at the end. On the weights that stay, this step is `torch.optim.SGD`'s.",
)
