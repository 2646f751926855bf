"""Where metrics go: CSV, TensorBoard, W&B and MLflow."""
