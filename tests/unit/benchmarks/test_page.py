"""One section of the benchmarks' page is written without touching the others."""

from benchmarks.page import with_section

PAGE = "# Benchmarks\n\nHead.\n\n## One\n\nold one\n\n## Two\n\nold two\n"


def test_a_section_takes_the_place_of_the_one_of_its_heading() -> None:
    assert with_section(PAGE, ["## One", "", "new", ""]) == PAGE.replace("old one", "new")


def test_the_last_section_is_replaced_to_the_end_of_the_page() -> None:
    assert with_section(PAGE, ["## Two", "", "new", ""]) == PAGE.replace("old two", "new")


def test_a_new_section_comes_last() -> None:
    assert with_section(PAGE, ["## Three", "", "new", ""]) == PAGE + "\n## Three\n\nnew\n"
