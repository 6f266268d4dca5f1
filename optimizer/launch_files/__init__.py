"""Launch files of training frameworks as layouts: every argument is used, beside the point, or reported."""
