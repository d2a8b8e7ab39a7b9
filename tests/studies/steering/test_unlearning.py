"""Settings of an edit are chosen on one half and judged on the other."""

from isthmus.studies.steering.unlearning import NOTHING, Outcome, Seen, chosen


def outcome(cut, rise, judged):
    return Outcome(Seen(cut, 0.0, rise), Seen(judged, 0.0, 0.1))


def test_the_largest_cut_within_the_rise_is_judged_elsewhere():
    tried = [outcome(10, 0.01, 7), outcome(30, 0.04, 20), outcome(90, 0.2, 80)]
    assert [chosen(tried, allowed).cut for allowed in (0.005, 0.02, 0.05, 1.0)] == [0, 7, 20, 80]


def test_of_equal_cuts_the_cheaper_counts():
    assert chosen([outcome(10, 0.04, 1), outcome(10, 0.01, 2)], 0.05).cut == 2


def test_what_cuts_nothing_where_it_is_chosen_is_not_done():
    assert chosen([outcome(0, -0.01, 9), outcome(-5, 0.0, 9)], 0.05) == NOTHING.judging
    assert chosen([], 0.05) == NOTHING.judging
