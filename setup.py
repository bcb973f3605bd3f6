"""What pyproject.toml cannot say yet: the extension in C."""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Optional: without a C compiler, and on other processors, the project does without it, slower.
        Extension(
            "services.layers._kernel",
            sorted(glob("services/layers/kernel/*.c")),
            depends=sorted(glob("services/layers/kernel/*.h")),
            extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
