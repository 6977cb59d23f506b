"""What a person can choose: one small frozen class per concern, each option written once. Imports no torch."""
