"""What pyproject.toml cannot say yet: the extension in C."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Optional: without a C compiler, and on other processors, the project does without it, slower.
        Extension(
            "services.layers._kernel",
            ["services/layers/kernel.c"],
            extra_compile_args=["-O3"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
