"""Reports as text: the columns end under one another."""

from coopnets_tf.evaluation import reports


def test_a_table_of_numbers_and_texts():
    rows = {
        "a": {"x": 1.23456, "long name": "5 ± 1"},
        "bcd": {"x": 2, "long name": "-"},
    }
    assert reports.table(rows).splitlines() == [
        "         x  long name",
        "a    1.235      5 ± 1",
        "bcd      2          -",
    ]
