"""When a step has ended, and whether well: the hook's bookkeeping by itself."""

from isthmus.hook.steps import Steps


def test_a_step_ends_once_with_its_last_bucket_in_whatever_order_they_are_done() -> None:
    ended: list[bool] = []
    steps = Steps(lambda step: ended.append(step.well))
    handed = [steps.hand_over(is_last=i == 2)[0] for i in range(3)]
    for step in reversed(handed):
        assert ended == []
        steps.finish(step, well=True)
    assert ended == [True]


def test_buckets_done_before_the_last_is_handed_over_do_not_end_the_step() -> None:
    ended: list[bool] = []
    steps = Steps(lambda step: ended.append(step.well))
    steps.finish(steps.hand_over(is_last=False)[0], well=True)
    assert ended == []
    steps.finish(steps.hand_over(is_last=True)[0], well=True)
    assert ended == [True]


def test_one_bad_bucket_spoils_its_step_and_not_the_next() -> None:
    ended: list[bool] = []
    steps = Steps(lambda step: ended.append(step.well))
    first, second = (steps.hand_over(is_last=last)[0] for last in (False, True))
    steps.finish(first, well=False)
    steps.finish(second, well=True)
    steps.finish(steps.hand_over(is_last=True)[0], well=True)
    assert ended == [False, True]


def test_steps_and_their_buckets_are_numbered() -> None:
    steps = Steps(lambda step: None)
    handed = [steps.hand_over(is_last=last) for last in (False, True, True)]
    assert [(step.number, place) for step, place in handed] == [(0, 0), (0, 1), (1, 0)]
