"""Models: brought, checked, listed, deployed and rolled back."""
