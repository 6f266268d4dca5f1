"""What ``compare`` is made of: fronts, contenders with their bills, break-evens, the tornado, draws."""
