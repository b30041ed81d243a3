"""What must be taken from scikit-learn's private corners, each with the versions it is for."""

# Private since 1.2, in the same place up to 1.9 at least.
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

__all__ = ["Interval", "InvalidParameterError", "StrOptions"]
