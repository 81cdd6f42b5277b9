"""distill: explainability-based knowledge distillation and the methods it is compared with."""
