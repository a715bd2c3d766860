"""One file a metric, each with `PLUGIN`; checked against independent implementations in the tests."""
