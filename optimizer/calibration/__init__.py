"""Constants of profiles from measured runs or from the device itself, and the deviations of what they predict."""
