"""Python as scientists write it: training as functions, and estimators of scikit-learn."""
