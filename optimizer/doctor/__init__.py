"""Why a layout runs out of memory or time, and what would repair it."""
