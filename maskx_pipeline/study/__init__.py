"""Many runs side by side: compare, splits, report, contact sheet."""
