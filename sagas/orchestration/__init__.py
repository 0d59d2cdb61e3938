"""Running sagas: claim, step, compensation, and the sweep that guarantees them."""
