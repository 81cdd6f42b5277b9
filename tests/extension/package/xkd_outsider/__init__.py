"""A stranger's model, explainer, data set, architecture and loss, found by xkd through entry points."""
