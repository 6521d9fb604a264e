"""Texts to search nine classes of photographs by, and the classes that each shall find.

All were listed before anything was measured, except the plain words after others: a test had shown
that the encoder takes "red" in "red airliner" for a kind of dog.
"""

AIRPLANES = ("airplanes",)
MOTORBIKES = ("Motorbikes",)
LEOPARDS = ("Leopards",)
PIANOS = ("grand_piano",)
BUTTERFLIES = ("butterfly",)
CARS = ("car_side",)
CLASSES_OF_TEXTS = {
    "airplane": AIRPLANES,
    "plane": AIRPLANES,
    "aircraft": AIRPLANES,
    "airliner": AIRPLANES,
    "motorbike": MOTORBIKES,
    "motorcycle": MOTORBIKES,
    "moped": MOTORBIKES,
    "bike": MOTORBIKES,
    "leopard": LEOPARDS,
    "cat": LEOPARDS,
    "big cat": LEOPARDS,
    "feline": LEOPARDS,
    "carnivore": LEOPARDS,
    "animal": (*LEOPARDS, *BUTTERFLIES),
    "grand piano": PIANOS,
    "piano": PIANOS,
    "musical instrument": PIANOS,
    "instrument": PIANOS,
    "butterfly": BUTTERFLIES,
    "insect": BUTTERFLIES,
    "arthropod": BUTTERFLIES,
    "car": CARS,
    "automobile": CARS,
    "motor vehicle": (*CARS, *MOTORBIKES),
    "vehicle": (*AIRPLANES, *MOTORBIKES, *CARS),
}
# Two of the four plain words that were listed and that the table lacks.
MORE_WORDS = {"jet": AIRPLANES, "sedan": CARS}
PHRASES = {
    "Boeing 747": AIRPLANES,
    "passenger flight": AIRPLANES,
    "flying machine with wings": AIRPLANES,
    "Harley Davidson": MOTORBIKES,
    "two-wheeled vehicle with an engine": MOTORBIKES,
    "motocross racing": MOTORBIKES,
    "spotted wild cat": LEOPARDS,
    "predator of the savanna": LEOPARDS,
    "animal with a spotted coat": LEOPARDS,
    "Steinway": PIANOS,
    "concert keyboard instrument": PIANOS,
    "what a pianist plays": PIANOS,
    "insect with colorful wings": BUTTERFLIES,
    "lepidopteran": BUTTERFLIES,
    "pollinator on a flower": BUTTERFLIES,
    "family sedan": CARS,
    "Volkswagen": CARS,
    "four-wheeled road vehicle": CARS,
}
# A plain word after words that the table lacks.
MODIFIED = {
    "red car": CARS,
    "white airplane": AIRPLANES,
    "two pianos": PIANOS,
    "yellow butterfly": BUTTERFLIES,
    "old motorcycle": MOTORBIKES,
    "black grand piano": PIANOS,
    "big leopard": LEOPARDS,
    "blue car": CARS,
    "a small airplane": AIRPLANES,
    "shiny motorcycle": MOTORBIKES,
    "beautiful butterfly": BUTTERFLIES,
    "red airliner": AIRPLANES,
    "fast car": CARS,
    "sleeping leopard": LEOPARDS,
}
# Texts for objects, which shall be understood; none is a phrase from above.
OBJECTS = """
puppy; iPhone; cutlery on a table; hot drink; owl at night; sneakers; smartphone; a slice of pizza;
mushrooms in the woods; laptop on a desk; kitty; fruit salad; sailing on the sea; red wine bottle;
doggy; Ferrari; violinist; sunglasses at the beach; kitten; wristwatch; soda can; television set;
tropical fish in a reef; a bouquet of daisies; skyscraper; airfield; parachuting; wheelchair;
mobile phone; baby carriage; snake in the grass; climbing plants; Siamese; wardrobe full of clothes;
a jar of honey; race horse; steam locomotive
"""
# Texts for what the networks do not know, without meaning, or in another language.
OTHERS = """
asdfgh; qwertyuiop; lorem ipsum; xyzzy; portrait; happiness; blue; yesterday; democracy;
impressionist painting; the meaning of life; slow; Hund; Klavier; voiture; mariposa; three; face;
a man talking to a woman; Tuesday; zzzzz; blorptang; foo bar baz; aaaa bbbb; wedding; sadness;
green; tomorrow; philosophy; black and white photograph; who am I; fast; Katze; Schmetterling;
oiseau; perro; seven; brain; children playing; Monday morning
"""
