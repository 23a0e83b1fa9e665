"""Do tests that share what is dear to make run in one worker?"""

from tests.support.groups import TREE


def test_the_tests_of_a_group_go_to_one_worker(request):
    config = request.config
    if getattr(config.option, "loadgroup", False):  # of xdist, in its workers
        assert request.node.nodeid.endswith(f"@{TREE}"), "xdist has lost the groups: which pytest?"
