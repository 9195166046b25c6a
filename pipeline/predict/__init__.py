"""What a trained model says of images that nobody prepared: files, folders, patterns."""

from pipeline.predict.predictor import Predictor

__all__ = ["Predictor"]
