"""How good is a map? What was measured on the ground, or drawn by hand, says it."""
