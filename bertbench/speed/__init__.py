"""Time, memory and energy of forward passes, in workers of their own."""
