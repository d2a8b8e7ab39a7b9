"""Small systems whose optimum is known in closed form."""
