"""The four presets: configurations to start from."""

import dataclasses

from jaxbrain.config.fields import (
    ClassifierConfig,
    CNNConfig,
    Config,
    DataConfig,
    GANConfig,
    HybridConfig,
    OptimConfig,
)


def paper() -> Config:
    """The paper's setting, read literally (docs/paper.md).

    MathWorks' conditional GAN at 64 px for 500 updates, a pool of 400 images, a CNN on
    224 px trained for 20 epochs of SGDM, then the LSTM hybrid on its features as one
    time step. What the paper leaves open follows MATLAB R2021's defaults.

    Expected: no accuracy is promised; the paper's own is 99.17 % on 120 images, half of
    them synthetic. Cost: 500 GAN updates of about 0.5 TFLOP each and 720 of the
    classifier; meant for an accelerator.

    Command:
        python -m experiments.paper --preset paper --data path/to/brain_tumor_dataset
    """
    return Config()


def recommended() -> Config:
    """What we would run instead of the paper's, on an accelerator where there is one.

    Head crop, all images of each class; hinge loss with lazy R1 and DiffAugment, an averaged
    generator, 20,000 alternating updates; a small CNN whose filters stand beside their
    mirror images, the hybrid over its rows, trained end to end with AdamW, one
    cycle, strong augmentation and averaged parameters.

    Expected: docs/results.md, What an honest classifier reaches. Cost: 20,000 GAN updates of about
    0.2 TFLOP each, meant for an accelerator; the classifier, alone in a study without
    synthesis, takes half a CPU minute a fold of 200 images.

    Command:
        python -m experiments.paper --preset recommended --data path/to/brain_tumor_dataset
    """
    return Config(
        data=DataConfig(
            n_per_class=0,
            image_size=64,
            crop="head",
            square="stretch",
            normalise="minmax",
            dedup="group",
        ),
        gan=GANConfig(
            dropout=0.0,
            generator_condition="batchnorm",
            discriminator_condition="projection",
            loss="hinge",
            r1=0.05,
            r1_every=16,
            update="alternating",
            flip=0.0,
            augment="diffaug",
            average_half_life=1000.0,
            steps=20_000,
            batch_size=32,
        ),
        cnn=CNNConfig(
            filters=(12, 24, 32, 32),
            first_kernel_size=5,
            first_stride=2,
            norm="group",
            mirror=True,
            dropout=0.3,
        ),
        hybrid=HybridConfig(sequence="rows"),
        classifier=ClassifierConfig(
            mode="end_to_end",
            epochs=120,
            batch_size=32,
            shuffle="every_epoch",
            partial="pad",
            augment="strong",
            label_smoothing=0.1,
            average_half_life=34.0,
            predict_shift=1,
            optim=OptimConfig(
                "adam", 1.5e-3, l2=0.0, weight_decay=0.02, schedule="one_cycle", warmup=0.15
            ),
        ),
        compute="auto",
    )


def cpu() -> Config:
    """`recommended` with a GAN that a laptop trains, and on at most 100 images per class as the
    paper's.

    The GAN is narrow and makes 2,400 updates. Every second image it draws for its own update is
    drawn at the code of a real one and held to it (`gan.anchor`), which teaches it anatomy in
    the first few hundred; the discriminator sees gently changed images and judges patches too.
    Latents of a smaller spread leave out the rarest anatomy, which it draws worst.

    Expected: no accuracy is promised. Cost: about three minutes a seed on two cores
    (docs/results.md has the figures).

    Command:
        python -m experiments.paper --preset cpu --data path/to/brain_tumor_dataset
    """
    base = recommended()
    adam = OptimConfig("adam", 2e-3, b1=0.5, b2=0.99, l2=0.0)
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, n_per_class=100),
        gan=dataclasses.replace(
            base.gan,
            filters=16,
            projection=256,
            kernel_size=4,
            latent_size=32,
            anchor=5.0,
            spread=0.55,
            patches=True,
            augment="gentle",
            steps=2400,
            batch_size=16,
            average_half_life=200.0,
            generator_optim=adam,
            discriminator_optim=adam,
        ),
        compute="float32",
    )


def tiny() -> Config:
    """The paper's CNN, narrow and trained end to end with the reading `rows`, and the GAN of
    `recommended`, narrow, at 48 px on 300 easy phantoms per class: what runs without any data.

    (On so many phantoms the GAN of `cpu` keeps the classes apart less well: with it fresh phantoms
    were told apart in 93 %.)

    Expected: at least 90 % on fresh phantoms. Cost: about two minutes on two cores
    (docs/results.md has the figures).

    Command:
        python -m experiments.paper
    """
    base = cpu()
    adam = OptimConfig("adam", 5e-4, b1=0.5, l2=0.0)
    return dataclasses.replace(
        base,
        data=dataclasses.replace(
            base.data, n_per_class=300, image_size=48, difficulty=0.2, square="pad"
        ),
        gan=dataclasses.replace(
            recommended().gan,
            image_size=48,
            filters=16,
            projection=128,
            augment="reflect",
            steps=2000,
            batch_size=16,
            average_half_life=200.0,
            generator_optim=adam,
            discriminator_optim=adam,
        ),
        cnn=CNNConfig(filters=(16, 32)),
        classifier=ClassifierConfig(
            mode="end_to_end",
            epochs=100,
            batch_size=16,
            shuffle="every_epoch",
            partial="pad",
            class_weight="balanced",
            augment="standard",
            optim=OptimConfig("adam", 2e-3, schedule="warmup_cosine"),
        ),
    )
