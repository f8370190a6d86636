"""From raw molecules to batches: the data file, those who fill it, and the loader that reads it."""

TOYS = {  # name -> function (numpy generator, number of points) -> points [n, D]
    "gaussians": "molflow.data.toys:gaussians",
    "moons": "molflow.data.toys:moons",
    "rings": "molflow.data.toys:rings",
    "swiss_roll": "molflow.data.toys:swiss_roll",
    "swiss_roll_2d": "molflow.data.toys:swiss_roll_2d",
}
