"""Average drop, increase in confidence and average gain (Grad-CAM++, WACV 2018; Opti-CAM, CVIU 2024)."""
